package bfd

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Sessions run one session per Config.
type Sessions struct {
	log     *slog.Logger
	configs []Config
	changed chan struct{}
}

// New checks the configurations; it opens nothing.
func New(log *slog.Logger, configs ...Config) (*Sessions, error) {
	return &Sessions{log: log, configs: configs, changed: make(chan struct{}, 1)}, nil
}

// Run runs the sessions until ctx is done, then tells the peers AdminDown. It returns at once when it cannot listen.
func (s *Sessions) Run(ctx context.Context) error { return errors.New("not built yet") }

// Changed signals that some Status changed since it was last read; capacity 1.
func (s *Sessions) Changed() <-chan struct{} { return s.changed }

// Status returns all sessions in the order of their configurations; safe for concurrent use, blocks on nothing.
func (s *Sessions) Status() []Status { return nil }

// SelfTest tells whether this machine is punctual enough for interval x multiplier, and its worst lateness.
func SelfTest(ctx context.Context, interval time.Duration, multiplier uint8) (worst time.Duration, ok bool) {
	return 0, false
}
