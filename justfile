# Recipes for people and for CI; `just` lists them. Plain cargo works for the first two as well.

export RUST_BACKTRACE := "1"

# list the recipes
default:
    @just --list --unsorted

# the stack on this machine, no Docker: gateway, data, downstream, Postgres and the console; Ctrl-C stops all
demo *args:
    cargo run --release -- {{ args }}

# every test that needs nothing but Rust (Postgres is found or downloaded)
test *args:
    cargo test {{ args }}

# formatting, lints and documentation, warnings denied
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

# the features of the telemetry crate: none, each alone, all; its tests that need no other feature compile too; api without a server
features:
    #!/usr/bin/env bash
    set -euo pipefail
    for features in "" actix tower axum reqwest sqlx actix,axum,reqwest,sqlx; do
        echo "features: ${features:-none}"
        cargo clippy --quiet -p telemetry --no-default-features --features "$features" --all-targets -- -D warnings
    done
    cargo clippy --quiet -p api --all-targets -- -D warnings
    cargo clippy --quiet -p service --features count-allocations --all-targets -- -D warnings
    cargo test --quiet -p service --features count-allocations allocations
    cargo test --quiet -p telemetry --test features
    # an adopter's reqwest may decompress, and its bodies then end otherwise
    cargo test --quiet -p telemetry --features reqwest,reqwest/gzip --test calls
    cargo test --quiet -p api --test client

# docs/ADOPT.md, word for word: services are made, compiled and run as it says (needs Python 3, Node, Go and the ports of the page)
adopt *args:
    cargo test -p omnitrace --test e2e adopt_guide -- --include-ignored {{ args }}

# banned and duplicated crates, licences (needs cargo-deny)
deny:
    # What goose brings must reach nobody else.
    cargo deny --exclude loadtest check bans
    cargo deny check licenses sources

# the same database tests against a Postgres container (needs a Docker engine)
test-containers *args:
    cargo build -p omnitrace
    cargo test -p container-tests {{ args }}

[private]
pages-packages:
    npm ci --prefix crates/omnitrace/tests/pages --no-audit --no-fund

# the web pages in headless Chromium, checked by axe, too (needs chromium, chromedriver, Node)
test-browser *args: pages-packages
    cargo test -p omnitrace --test e2e browser -- --ignored {{ args }}

# the types of the web pages' modules, and that what is vendored is what npm has (needs Node)
test-pages: pages-packages
    crates/omnitrace/tests/pages/node_modules/.bin/tsc --project crates/omnitrace/tests/pages
    crates/omnitrace/tests/pages/vendored.sh

# the numbers of docs/BENCHMARKS.md, measured on this machine
bench:
    cargo bench -p omnitrace --bench stack

# attacks on the console's memory and patience: the table of docs/SECURITY.md, peak RSS and longest stall (release build, minutes)
attack:
    cargo test --release -p omnitrace --test e2e console_bounds -- --ignored --nocapture

# rewrite the generated parts of docs/TELEMETRY.md, the list of `omnitrace licenses` and deploy/collector/collector.yaml
docs:
    UPDATE_DOCS=1 cargo test -p omnitrace --test e2e -- docs:: licenses::the_list
    UPDATE_DOCS=1 cargo test -p redact --test collector

# the programs of the standard stack, for test-stack: built or downloaded once (Go, apt-get; about 10 min cold)
stack-tools *tools:
    deploy/tools/build.sh {{ tools }}

# the standard stack without Docker: real collector, Jaeger, Prometheus, Alertmanager and the files in deploy/; in Loki's place the console, VictoriaLogs and VictoriaMetrics
test-stack *args: stack-tools
    cargo test -p omnitrace --test e2e stack_ -- --ignored --test-threads=2 {{ args }}

# traces on Cassandra: the standard stack without Docker, with one node (needs Maven and Java 17; not part of CI)
test-cassandra *args: (stack-tools "collector" "jaeger" "cassandra")
    cargo test -p omnitrace --test e2e cassandra:: -- --ignored {{ args }}

# the standard stack on Docker Compose; overlays: production tls filelog trimmed cassandra remote-write (docs/DEPLOY.md)
up *overlays:
    deploy/stack.sh up {{ overlays }}

# stop the stack of `just up`, keep its data
down:
    deploy/stack.sh down

# stop it and delete its data
reset:
    deploy/stack.sh reset

# what runs, of the stack of `just up` or, without Docker, of `just demo`; so with all recipes down to `fault` (docs/runbooks/README.md)
ps:
    deploy/stack.sh ps

# its last lines; -f follows
[positional-arguments]
logs *parts:
    deploy/stack.sh logs "$@"

# is each service ready, and what does it lack?
health:
    deploy/stack.sh health

# follow every path through it
[positional-arguments]
doctor *options:
    deploy/stack.sh doctor "$@"

# PromQL, or LogQL after --logs; without a query, each line that is pasted until Ctrl-D
[positional-arguments]
query *query:
    deploy/stack.sh query "$@"

# a statement in its database
[positional-arguments]
sql statement:
    deploy/stack.sh sql "$@"

# what herald knows: list | show ID | ack ID | …
[positional-arguments]
alerts *action:
    deploy/stack.sh alerts "$@"

# tell nobody of an alert for a while: just silence LogStorm 2h 'load test until 4' service=data
[positional-arguments]
silence alert time why *only:
    deploy/stack.sh silence "$@"

# order events that were set aside: list | retry ID … | retry --all
[positional-arguments]
outbox *action:
    deploy/stack.sh outbox "$@"

# what a service logs, or another filter until it ends
[positional-arguments]
log-level service *filter:
    deploy/stack.sh log-level "$@"

# end one part and start it again, with the overlays of `just up`; no other is touched
[positional-arguments]
restart part:
    deploy/stack.sh restart "$@"

# changed configuration, rules, secrets and certificates, into the parts that read them; those of Prometheus, collector and Alertmanager are checked first
[positional-arguments]
reload *parts:
    deploy/stack.sh reload "$@"

# one service as it was: just rollback data, or just rollback data 0.1.0-1a2b3c4d5e6f; the next `just up` ends it
[positional-arguments]
rollback service *version:
    deploy/stack.sh rollback "$@"

# Docker Compose itself, with the files and settings of `just up`: just compose exec -T grafana …
[positional-arguments]
compose *arguments:
    deploy/stack.sh compose "$@"

# faults in it: list | set downstream latency ms=400 --for 60s | clear
[positional-arguments]
fault *arguments:
    deploy/stack.sh fault "$@"

# break stacks on purpose, and measure what people are told: docs/GAMEDAY.md (release build); --only NAME, --repeats 3, --jobs 2, --mode standard
gameday *args:
    cargo run --release -- gameday run {{ args }}

# three scenarios and three controls of the game day, and that the truth is hidden (debug build, about 5 min)
test-gameday *args:
    cargo test -p omnitrace --test e2e gameday:: -- --ignored {{ args }}

# what compose.yaml and every overlay render to: limits, ports, secrets, … (no engine needed)
test-compose *args: stack-tools
    cargo test -p omnitrace --test e2e compose:: -- --ignored {{ args }}

# the Helm chart: linted and rendered with each profile, its promises checked, its files validated (Go; no cluster)
test-helm *args: (stack-tools "helm" "collector")
    cargo test -p omnitrace --test e2e helm:: -- --include-ignored {{ args }}

# the Helm chart against Kubernetes' API server: admission, selectors, upgrade, rollback; docs/kubernetes-test.log is its output (Go, apt-get; 15 min the first time)
test-kubernetes *args:
    #!/usr/bin/env bash
    set -euo pipefail
    bin="$(deploy/tools/build.sh kube-apiserver etcd kubectl helm)"
    echo "$(date -u +%F), commit $(git rev-parse --short HEAD)"
    "$bin/kube-apiserver" --version
    "$bin/etcd" --version | sed -n 1p
    echo "kubectl $("$bin/kubectl" version --client | sed -n 1p)"
    echo "Helm $("$bin/helm" version --short)"
    cargo test -p omnitrace --test e2e kubernetes:: -- --ignored --test-threads=1 {{ args }}

# the compose file started for real with stand-in images (needs a Docker engine, no registry)
test-compose-up *overlays: stack-tools
    cargo build -p omnitrace
    .ci/compose-up.sh {{ overlays }}

# the console's LogQL parser against the vendor's grammar, over every expression in the repository (needs Node)
test-logql:
    npm ci --prefix crates/omnitrace/tests/logql --no-audit --no-fund
    cargo test -p omnitrace --test e2e logql:: -- --include-ignored

# the dashboards against Grafana's own types, strictly (needs Go)
test-dashboards:
    cd crates/omnitrace/tests/dashboards && go test -count=1 .

# crates/promql against Prometheus's own tests: a copy of promql/promqltest/testdata of prometheus/prometheus (docs/CONFORMANCE.md)
test-promql directory:
    OMNITRACE_PROMQL_TESTS="{{ absolute_path(directory) }}" cargo test -p promql --test promql conformance:: -- --include-ignored --nocapture

# the telemetry crate against the W3C's suites: a directory with clones of trace-context and baggage (needs Python 3; docs/CONFORMANCE.md)
test-w3c directory:
    crates/omnitrace/tests/conformance/w3c.sh "{{ absolute_path(directory) }}"

# the console against other people's test data: a directory with jaeger, openmetrics and otlp (docs/CONFORMANCE.md)
test-conformance directory:
    OMNITRACE_CONFORMANCE="{{ absolute_path(directory) }}" cargo test -p console --test http conformance:: -- --ignored --nocapture

# the official OpenTelemetry SDKs of python, node, go and java (or those named) against the embedded stack (needs the languages; docs/CONFORMANCE.md)
test-sdks *languages:
    crates/omnitrace/tests/sdks/sdk.sh install {{ languages }}
    OMNITRACE_SDKS="{{ languages }}" cargo test -p omnitrace --test e2e sdks:: -- --ignored

# the API against its OpenAPI document, by a property-based client (needs Python 3)
test-openapi:
    cargo build -p omnitrace
    loadtest/openapi.sh

# the Locust model against the embedded stack, for a few seconds (needs Python 3)
test-locust:
    cargo build -p omnitrace
    loadtest/locust.sh

# load by users with pauses against a running stack (http://127.0.0.1:8080), its metrics on 127.0.0.1:9646: --users 50 --duration 5m --report-dir …
load *args:
    cargo run -p loadtest --release -- {{ args }}

# the load test against the embedded services: its counts and theirs agree, every trace has its root
test-load *args:
    cargo build -p omnitrace
    cargo test -p loadtest {{ args }}

# that `just bench-scale` measures what it says, with the real programs
test-scale *args: stack-tools
    cargo build -p omnitrace
    cargo test -p loadtest --test stack what_a_part_costs -- --ignored {{ args }}

# what each signal costs, on every route, step by step: docs/OVERHEAD.md (release build; about 30 min; --rounds 3 --seconds 2: 9 min; --route, --json, …)
overhead *args:
    cargo build --release -p omnitrace
    cargo run --release -p loadtest -- overhead {{ args }}

# the ladder once, with services that count their allocations; their CPU times are those of the counting, too (release build; about 6 min)
overhead-allocations *args:
    cargo build --release -p omnitrace --features count-allocations
    cargo run --release -p loadtest -- overhead --rounds 1 {{ args }}

# the same handler with this crate, axum, Go and Flask, each with and without telemetry (release builds; Go, Python 3)
peers *args:
    loadtest/peers/run.sh {{ args }}

# 20,000 spans/s through one process for 10 minutes: what is lost, and its memory (release build; --seconds 60 for less)
soak *args:
    cargo run --release -p loadtest -- soak {{ args }}

# what spans cost the console and Jaeger's memory store, in turn on one core, and searches in a full console: docs/BENCHMARKS.md (release build; about 3 min)
bench-ingest *args:
    cargo build --release -p omnitrace
    cargo run --release -p loadtest -- ingest --jaeger "$(deploy/tools/build.sh jaeger)/jaeger" {{ args }}

# what a span, a series and a log line cost the parts of the standard stack: docs/SCALE.md (release build of ours; about 10 min; --rounds, --batches, …)
bench-scale *args: stack-tools
    cargo build --release -p omnitrace
    cargo run --release -p loadtest -- scale {{ args }}

# a fixed rate, open loop: [rate] requests/s for [time] to a URL on this machine, by oha (built once); more of its options after that
bench-load rate="200" time="30s" url="http://127.0.0.1:8080/api/data" *args:
    loadtest/open-loop.sh {{ rate }} {{ time }} {{ url }} {{ args }}
