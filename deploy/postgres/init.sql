-- Run once, by the server's image, on an empty data directory. The roles of the stack: none of them is a superuser.
\getenv data_password OMNITRACE_DATA_PASSWORD
\getenv exporter_password OMNITRACE_EXPORTER_PASSWORD

-- The data service owns its schema, and nothing else.
CREATE ROLE omnitrace LOGIN PASSWORD :'data_password';
GRANT CREATE ON DATABASE omnitrace TO omnitrace;

-- The exporter reads the statistics, and no table.
CREATE ROLE exporter LOGIN PASSWORD :'exporter_password' CONNECTION LIMIT 5;
GRANT pg_monitor TO exporter;

-- shared_preload_libraries has it already (compose.yaml).
CREATE EXTENSION pg_stat_statements;
