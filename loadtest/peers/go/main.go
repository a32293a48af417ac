// The handler of docs/OVERHEAD.md in Go with otelhttp, as its guide shows it.
package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
)

// Starts traces; returns what ends them.
func telemetry(ctx context.Context) (func(context.Context) error, error) {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	provider := trace.NewTracerProvider(
		trace.WithBatcher(exporter),
		trace.WithResource(resource.NewSchemaless(attribute.String("service.name", "peer-go"))),
	)
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return provider.Shutdown, nil
}

func traced(w http.ResponseWriter, r *http.Request) {
	tracer := otel.Tracer("peer")
	_, lookUp := tracer.Start(r.Context(), "look up", api.WithSpanKind(api.SpanKindClient),
		api.WithAttributes(attribute.String("db.system.name", "postgresql"), attribute.String("db.operation.name", "SELECT")))
	lookUp.End()
	_, call := tracer.Start(r.Context(), "call", api.WithSpanKind(api.SpanKindClient),
		api.WithAttributes(attribute.String("server.address", "127.0.0.1"), attribute.Int("server.port", 8082)))
	call.End()
	span := api.SpanContextFromContext(r.Context())
	slog.Info("done", "items", 2, "trace_id", span.TraceID().String(), "span_id", span.SpanID().String())
	plain(w, r)
}

func plain(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "done\n")
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var handler http.Handler = http.HandlerFunc(plain)
	if os.Getenv("OTEL_SDK_DISABLED") != "true" {
		shutdown, err := telemetry(ctx)
		if err != nil {
			return err
		}
		defer func() {
			flush, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = shutdown(flush)
		}()
		slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
		handler = otelhttp.NewHandler(http.HandlerFunc(traced), "GET /work")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /work", handler)
	server := http.Server{Addr: os.Getenv("LISTEN"), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		slog.Error("failed", "error", err)
		os.Exit(1)
	}
}
