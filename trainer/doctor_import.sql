-- What the server's Python has, told by proving a tiny model. Calls rescore._prove; reads no table.
SELECT rescore._prove(%s::bytea, 'joblib', %s::jsonb, 5, NULL)->>'library_versions'
