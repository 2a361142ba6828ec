package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// onSignals returns a context that the first SIGINT or SIGTERM ends; a second one kills. hangups are
// the SIGHUPs, of which one may wait. A reader of stderr that goes away must not take the server with it (SIGPIPE).
func onSignals(parent context.Context) (ctx context.Context, hangups <-chan os.Signal, release func()) {
	ctx, stop := signal.NotifyContext(parent, unix.SIGINT, unix.SIGTERM)
	context.AfterFunc(ctx, stop)
	signal.Ignore(unix.SIGPIPE)
	received := make(chan os.Signal, 1)
	signal.Notify(received, unix.SIGHUP)
	return ctx, received, func() {
		signal.Stop(received)
		stop()
		signal.Reset(unix.SIGPIPE)
	}
}
