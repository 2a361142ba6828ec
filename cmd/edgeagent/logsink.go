package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// logLines is how many lines may wait for a reader of the log that does not read.
const logLines = 1024

// A logSink writes log lines in the background: a log that nobody reads, or a full disk behind it, must never stand
// between a failure and its withdrawal. Lines that do not fit are dropped and counted. Safe for concurrent use.
type logSink struct {
	out     io.Writer
	lines   chan []byte
	dropped atomic.Uint64
}

func newLogSink(out io.Writer) *logSink {
	return &logSink{out: out, lines: make(chan []byte, logLines)}
}

// Write takes one line and never fails.
func (s *logSink) Write(line []byte) (int, error) {
	select {
	case s.lines <- append([]byte(nil), line...):
	default:
		s.dropped.Add(1)
	}
	return len(line), nil
}

// start begins to write. The returned function writes what is left, for a second at most: the reader may be stuck for ever.
func (s *logSink) start() (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case line := <-s.lines:
				s.write(line)
			case <-end:
				s.drain()
				return
			}
		}
	}()
	return func() {
		close(end)
		select {
		case <-done:
		case <-time.After(time.Second):
		}
	}
}

func (s *logSink) drain() {
	for {
		select {
		case line := <-s.lines:
			s.write(line)
		default:
			return
		}
	}
}

func (s *logSink) write(line []byte) {
	if n := s.dropped.Swap(0); n > 0 {
		fmt.Fprintf(s.out, "%d lines of the log were dropped: nobody read it\n", n)
	}
	_, _ = s.out.Write(line) // there is no other place to tell it
}
