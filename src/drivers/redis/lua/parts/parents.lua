-- Who waits for whom. A link stands in the slot of the parent: `<padded parent> <policy> <base of
-- the child's queue> <child>`. A child of this queue is told at once; for others the news goes to
-- `:out`, from where the caller carries it. A child strikes a parent out once, so news may come
-- twice.
m.news = 0

function m.cancel_with_parent(row, who)
  m.set_error(row, '{"code":"JOB_CANCELLED","message":"' .. who .. ' did not complete.",'
    .. '"stack":null,"fingerprint":"parent failed"}', 'parent failed')
  m.finish(row, 'cancelled')
end

function m.parent_ended(child, parent, completed)
  local lane, offset = m.parse_id(child)
  local row = m.load_row(lane, offset)
  if not row or row.st ~= 'blocked' then return end
  if not completed and row.m == 'cancel' then
    return m.cancel_with_parent(row, 'Job ' .. parent)
  end
  if call('HDEL', m.row_key(row.id), 'w:' .. parent) == 0 then return end
  row.pl = call('HINCRBY', m.row_key(row.id), 'pl', -1)
  if row.pl <= 0 then m.place_by_time(row, 'delayed', row.r) end
end

-- Tells the children of offsets first to last of a lane that these completed, or failed for good.
function m.notify_children(lane, first, last, completed)
  if not m.exists(':kids') then return end
  local links = call('ZRANGEBYLEX', base .. ':kids', '[' .. m.pad(lane, first),
    '(' .. m.pad(lane, last + 1))
  for _, link in ipairs(links) do
    local parent, policy, child_base, child = string.match(link, '^(%S+) (%a+) (%S+) (%S+)$')
    if completed then call('ZADD', base .. ':keep', now, parent) end
    if completed or policy ~= 'wait' then
      local parent_lane, parent_offset = m.unpad(parent)
      local id = parent_lane .. '-' .. parent_offset
      call('ZREM', base .. ':kids', link)
      if child_base == base then
        m.parent_ended(child, id, completed)
      else
        m.news = 1
        call('RPUSH', base .. ':out',
          child_base .. ' ' .. child .. ' ' .. id .. (completed and ' 1 ' or ' 0 ')
            .. call('HINCRBY', base .. ':q', 'news', 1))
      end
    end
  end
end

function m.add_link(parent, policy, child_base, child)
  local lane, offset = m.parse_id(parent)
  call('ZADD', base .. ':kids', 0,
    m.pad(lane, offset) .. ' ' .. policy .. ' ' .. child_base .. ' ' .. child)
end
