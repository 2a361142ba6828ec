package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// onSignals returns a context that the first SIGINT or SIGTERM ends; a second one kills. SIGHUP changes nothing yet, and
// a reader of stderr that goes away must not take the server with it (SIGPIPE).
func onSignals(parent context.Context, log *slog.Logger) (ctx context.Context, release func()) {
	ctx, stop := signal.NotifyContext(parent, unix.SIGINT, unix.SIGTERM)
	context.AfterFunc(ctx, stop)
	signal.Ignore(unix.SIGPIPE)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			log.Warn("reload is not supported yet: restart to read a changed configuration")
		}
	}()
	return ctx, func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
		stop()
		signal.Reset(unix.SIGPIPE)
	}
}
