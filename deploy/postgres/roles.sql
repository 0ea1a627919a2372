-- Three roles for the tables of a run store in Postgres: run this in the store's database and schema,
-- as the user who owns the tables, and again after each `mentorgrad store migrate`. It may be run
-- any number of times. Then put users into the roles:
--
--   CREATE USER gpu1 PASSWORD '...' IN ROLE mentorgrad_agent;
--
--   mentorgrad_agent   trainers and workers: read and change all rows; no tables, no other roles
--   mentorgrad_reader  `--store` of commands, reports, dashboards: read
--
-- The third role is the owner of the tables, who alone creates and migrates them.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['mentorgrad_agent', 'mentorgrad_reader'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', name);
    END IF;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), name);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO %I', current_schema(), name);
  END LOOP;
  EXECUTE format(
    'GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO mentorgrad_agent', current_schema());
  EXECUTE format(
    'GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO mentorgrad_agent', current_schema());
  EXECUTE format(
    'REVOKE INSERT, UPDATE, DELETE ON mentorgrad_schema FROM mentorgrad_agent');
END
$$;
