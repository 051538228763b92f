/**
 * What every block of the document runs with here. Between `#region document` and `#endregion` the
 * modules beside this one hold the document's own code, changed in three things only: the package
 * is called millrace, `...connection` stands for the `redis` option (so that each block also runs
 * on Postgres), and what the document leaves undeclared is declared around it.
 */
export interface Setting {
  readonly connection:
    | { readonly redis: { readonly url: string } }
    | { readonly postgres: { readonly url: string } };
}
