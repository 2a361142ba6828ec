package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// stuck is a reader that reads nothing until it is let go.
type stuck struct {
	bytes.Buffer
	held chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.held
	return s.Buffer.Write(p)
}

func TestLogSink(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	sink := newLogSink(&out)
	log := slog.New(slog.NewTextHandler(sink, nil))
	log.Info("before")
	stop := sink.start()
	log.Info("after")
	stop()
	if got := out.String(); strings.Count(got, "\n") != 2 || strings.Index(got, "before") > strings.Index(got, "after") {
		t.Errorf("got %q", got)
	}
}

// A log that nobody reads blocks neither the agent nor its end.
func TestLogSinkNeverBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{held: make(chan struct{})}
		sink := newLogSink(out)
		stop := sink.start()
		fmt.Fprintln(sink, "first")
		synctest.Wait() // it is being written
		for range logLines + 3 {
			fmt.Fprintln(sink, "line")
		}
		stop() // after a second, which passes at once here
		close(out.held)
		synctest.Wait()
		if got := out.String(); !strings.HasPrefix(got, "first\n3 lines of the log were dropped: nobody read it\nline\n") {
			t.Errorf("got %.100q", got)
		}
	})
}
