package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// onSignals returns a context that the first SIGINT or SIGTERM ends, and a channel that the second one closes; a third
// kills. SIGHUP changes nothing yet, and a reader of stderr that goes away must not take the agent with it (SIGPIPE).
func onSignals(parent context.Context, log *slog.Logger) (ctx context.Context, hurry <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancel(parent)
	hurried := make(chan struct{})
	caught := make(chan os.Signal, 4)
	signal.Ignore(unix.SIGPIPE)
	signal.Notify(caught, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		stops := 0
		for s := range caught {
			switch {
			case s == unix.SIGHUP:
				log.Warn("reload is not supported yet: restart to read a changed configuration")
			case stops == 0:
				stops++
				log.Info("stopping", "signal", s.String())
				cancel()
			default:
				log.Info("stopping without waiting", "signal", s.String())
				signal.Reset(unix.SIGINT, unix.SIGTERM)
				close(hurried)
				return
			}
		}
	}()
	return ctx, hurried, func() {
		signal.Reset(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
		select {
		case <-done:
		default:
			close(caught)
			<-done
		}
		cancel()
	}
}
