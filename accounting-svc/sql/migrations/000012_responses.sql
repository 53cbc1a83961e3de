-- Responses that providers make in the background are booked when they are done, too.
drop index objects_unsettled;
create index objects_unsettled on objects (seen_at)
  where settled_at is null and kind in ('batch', 'message_batch', 'video', 'response');
