-- What an owner of tables, or anybody who may create objects, can put in rescore's way.
-- Calls nothing of rescore. Each attack that runs says so: a warning with the role it runs as.

-- name: loot
CREATE SCHEMA loot;
GRANT USAGE ON SCHEMA loot TO PUBLIC;
CREATE FUNCTION loot.took(what text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN RAISE WARNING 'loot % %', current_user, what; RETURN true; END $$;

-- name: everything_on_the_tables
-- Run as the owner of the tables.
CREATE FUNCTION shop.took() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM loot.took('trigger ' || TG_RELID::regclass || ' ' || TG_WHEN || ' ' || TG_LEVEL);
      RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; END $$;
CREATE TRIGGER a_took BEFORE INSERT OR UPDATE OR DELETE ON shop.customers FOR EACH ROW EXECUTE FUNCTION shop.took();
CREATE TRIGGER z_took AFTER INSERT OR UPDATE OR DELETE ON shop.customers FOR EACH STATEMENT EXECUTE FUNCTION shop.took();
CREATE TRIGGER a_took BEFORE INSERT OR UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.took();
CREATE DOMAIN shop.checked AS text CHECK (loot.took('domain ' || length(VALUE)));
ALTER TABLE shop.customers
    ADD COLUMN a_default text DEFAULT CASE WHEN loot.took('default ' || clock_timestamp()) THEN 'x' END,
    ADD COLUMN a_domain shop.checked DEFAULT 'x',
    ADD COLUMN a_generated boolean GENERATED ALWAYS AS (loot.took('generated ' || region)) STORED,
    ADD CONSTRAINT a_check CHECK (loot.took('check ' || orders));
CREATE INDEX ON shop.customers (loot.took('index ' || spend));
CREATE INDEX ON shop.orders (loot.took('event index ' || amount));
ALTER TABLE shop.orders ADD CONSTRAINT a_check CHECK (loot.took('event check ' || amount));
CREATE TYPE shop.kinds AS ENUM ('web', 'store', 'gift');
CREATE FUNCTION shop.kind_text(shop.kinds) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN PERFORM loot.took('cast'); RETURN 'web'; END $$;
CREATE CAST (shop.kinds AS text) WITH FUNCTION shop.kind_text(shop.kinds) AS IMPLICIT;
ALTER TABLE shop.orders ALTER COLUMN kind TYPE shop.kinds USING kind::shop.kinds;
ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY a_policy ON shop.customers USING (loot.took('policy ' || customer_id));
GRANT SELECT ON shop.customers TO app;

-- name: deferred_trigger
-- Run as the owner of the tables: it waits until whoever writes commits.
CREATE FUNCTION shop.took() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM loot.took('deferred'); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER took AFTER INSERT OR UPDATE ON shop.customers DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.took();

-- name: views_in_the_tables_place
-- Run as the owner of the tables: the triggers stay on what was renamed.
ALTER TABLE shop.orders RENAME TO real_orders;
CREATE VIEW shop.orders AS SELECT o.* FROM shop.real_orders AS o WHERE loot.took('event view');
ALTER TABLE shop.sessions RENAME TO real_sessions;
CREATE VIEW shop.sessions AS SELECT o.* FROM shop.real_sessions AS o WHERE loot.took('link view');

-- name: view_in_the_profiles_place
ALTER TABLE shop.customers RENAME TO real_customers;
CREATE VIEW shop.customers AS SELECT c.* FROM shop.real_customers AS c WHERE loot.took('profile view');

-- name: altered_functions
-- Run as the owner of the tables, and so of the functions: to be run as whoever calls them.
CREATE FUNCTION shop.took() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM loot.took('trigger'); RETURN NEW; END $$;
CREATE TRIGGER a_took BEFORE INSERT OR UPDATE ON shop.customers FOR EACH ROW EXECUTE FUNCTION shop.took();
CREATE FUNCTION shop.now() RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN PERFORM loot.took('now'); RETURN pg_catalog.now(); END $$;
CREATE FUNCTION shop.is_same(name, name) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM loot.took('operator'); RETURN false; END $$;
CREATE OPERATOR shop.<> (FUNCTION = shop.is_same, LEFTARG = name, RIGHTARG = name);
CREATE DOMAIN shop.timestamptz AS pg_catalog.timestamptz CHECK (loot.took('type'));
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_catalog.pg_proc AS p
             WHERE p.pronamespace = 'rescore_compiled'::regnamespace AND p.proowner = 'app_owner'::regrole
    LOOP
        EXECUTE pg_catalog.format('ALTER FUNCTION %s SECURITY INVOKER', f);
        EXECUTE pg_catalog.format('ALTER FUNCTION %s SET search_path = shop, pg_catalog', f);
    END LOOP;
END $$;

-- name: everything_in_front
-- Run by whoever may create schemas: an operator or function of the same name and types for each of
-- PostgreSQL's own, in front of them, and the pairs of types PostgreSQL has no operator for.
CREATE SCHEMA front;
GRANT USAGE ON SCHEMA front TO PUBLIC;
DO $$
DECLARE
    o record;
BEGIN
    FOR o IN SELECT p.oid, p.oprname, p.oprleft::regtype AS l, p.oprright::regtype AS r, p.oprresult::regtype AS result,
                    row_number() OVER () AS n
             FROM pg_operator AS p
             WHERE p.oprnamespace = 'pg_catalog'::regnamespace AND p.oprleft <> 0
               AND p.oprresult <> ALL ('{anyelement,anyarray,anycompatiblearray}'::regtype[])
               AND ARRAY[p.oprleft, p.oprright] <@ '{bool,int2,int4,int8,oid,text,name,"char",numeric,float8,timestamptz,interval,jsonb,anyarray,anyelement,xid,regproc}'::regtype[]::oid[]
               AND p.oprname IN ('=', '<>', '<', '>', '<=', '>=', '||', '->', '->>', '+', '-', '*', '/', '~', '@>', '<@', '?', '&', '>>')
    LOOP
        EXECUTE format('CREATE FUNCTION front.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', o.n, o.l, o.r, o.result,
                       format('BEGIN PERFORM loot.took(%L); RETURN $1 OPERATOR(pg_catalog.%s) $2; END',
                              format('%s(%s,%s)', o.oprname, o.l, o.r), o.oprname));
        EXECUTE format('CREATE OPERATOR front.%s (FUNCTION = front.operator_%s, LEFTARG = %s, RIGHTARG = %s)', o.oprname, o.n, o.l, o.r);
    END LOOP;
    FOR o IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS args, p.prorettype::regtype AS result
             FROM pg_proc AS p
             WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.provariadic = 0
               AND p.proname IN ('now', 'format', 'length', 'lower', 'left', 'substr', 'concat', 'coalesce', 'abs', 'quote_ident',
                                 'to_regclass', 'to_regproc', 'current_setting', 'set_config', 'cardinality', 'array_length', 'date_part',
                                 'jsonb_typeof', 'jsonb_array_length', 'isfinite', 'hashtextextended', 'pg_has_role', 'format_type', 'round')
               AND pg_get_function_identity_arguments(p.oid) !~ 'internal|any|OUT|cstring'
    LOOP
        EXECUTE format('CREATE FUNCTION front.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', o.proname, o.args, o.result,
                       format('BEGIN PERFORM loot.took(%L); RETURN NULL; END', o.proname));
    END LOOP;
    FOR o IN SELECT l, r, op FROM unnest('{int2,int4,int8,numeric,float8,text,name,varchar,jsonb}'::text[]) AS l,
                    unnest('{int2,int4,int8,numeric,float8,text,name,varchar,jsonb}'::text[]) AS r, unnest('{=,<>,<,>}'::text[]) AS op
             WHERE to_regoperator(format('pg_catalog.%s(%s,%s)', op, l, r)) IS NULL
    LOOP
        EXECUTE format('CREATE FUNCTION public.operator_%s_%s_%s(%2$s, %3$s) RETURNS boolean LANGUAGE plpgsql AS %4$L', md5(o.op), o.l, o.r,
                       format('BEGIN RETURN loot.took(%L); END', format('%s(%s,%s)', o.op, o.l, o.r)));
        EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.operator_%s_%s_%s, LEFTARG = %3$s, RIGHTARG = %4$s)', o.op, md5(o.op), o.l, o.r);
    END LOOP;
    EXECUTE format('ALTER DATABASE %I SET search_path = front, pg_catalog, public', current_database());
END $$;

-- name: temporary_tables
-- Run by the application, in its own session, before it inserts.
CREATE TEMPORARY TABLE customers (customer_id bigint, ordered_at timestamptz, amount numeric, kind text);
CREATE TEMPORARY TABLE orders (customer_id bigint, ordered_at timestamptz, amount numeric, kind text);
CREATE TEMPORARY TABLE rescore_new (customer_id bigint, ordered_at timestamptz, amount numeric, kind text);
CREATE TEMPORARY TABLE rescore_old (customer_id bigint, ordered_at timestamptz, amount numeric, kind text);
CREATE TEMPORARY TABLE pg_class (oid oid);
CREATE TEMPORARY TABLE pg_proc (oid oid);
CREATE TEMPORARY TABLE profiles (profile text);
CREATE TEMPORARY TABLE r (customer_id bigint);
CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RETURN '1999-01-01'; END $$;
CREATE FUNCTION pg_temp.array_agg(bigint) RETURNS bigint[] LANGUAGE plpgsql AS $$ BEGIN RETURN '{666}'; END $$;

-- name: session_settings
SET search_path = pg_temp, shop, pg_catalog;
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'sql_standard';
SET TimeZone = 'Pacific/Kiritimati';
SET extra_float_digits = -15;
SET standard_conforming_strings = off;
SET backslash_quote = on;
SET bytea_output = 'escape';
SET array_nulls = off;
SET transform_null_equals = on;
SET row_security = off;
SET quote_all_identifiers = on;
SET default_transaction_isolation = 'repeatable read';
SET plpgsql.extra_errors = 'all';
SET check_function_bodies = off;
SET jit = off;
SET plan_cache_mode = force_generic_plan;
