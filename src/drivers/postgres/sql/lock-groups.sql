-- Keeps groups from being registered until the end of the transaction.
lock table millrace.consumer_group in share row exclusive mode
