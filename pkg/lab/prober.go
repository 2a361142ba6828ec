package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/pkg/probe"
)

// A prober is an `edgeprobe run` in a node: it tells who answers while it runs, and everything when it ends.
type prober struct {
	cmd    *exec.Cmd
	report string // path of its JSON
	done   chan struct{}

	mu      sync.Mutex    // guards following
	site    string        // who answers
	since   time.Time     // since when it is that site
	spells  []spell       // who answered, one after the other
	err     error         // why it ended
	changed chan struct{} // closed and renewed at every change
}

// A spell is a time in which one site answers.
type spell struct {
	site string
	from int64 // CLOCK_MONOTONIC of its first answer
}

// maxSpells bounds what a prober keeps of a client that is thrown about.
const maxSpells = 1000

// probeTask tells a prober what to do.
type probeTask struct {
	node     string
	target   netip.AddrPort
	name     string // DNS name to ask for; empty: UDP probe
	interval time.Duration
}

// probing starts a prober. End it by stop.
func probing(ctx context.Context, l *Lab, task probeTask) (*prober, error) {
	report, err := os.CreateTemp(l.opts.State, "probe-*.json")
	if err != nil {
		return nil, err
	}
	_ = report.Close()
	argv := []string{"edgeprobe", "run", "--target", task.target.String(), "--interval", task.interval.String(),
		"--duration", "0", "--points", probePoints, "--events", "-", "--json", report.Name()}
	if task.name != "" {
		argv = append(argv, "--dns", task.name)
	}
	cmd, err := l.Command(context.WithoutCancel(ctx), task.node, argv...)
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	cmd.Stderr = &said
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.Spawn(task.node, cmd); err != nil {
		return nil, fmt.Errorf("prober: %w", err)
	}
	p := &prober{cmd: cmd, report: report.Name(), done: make(chan struct{}), changed: make(chan struct{})}
	go p.follow(events, &said)
	return p, nil
}

// follow reads the prober's events until it ends.
func (p *prober) follow(events io.Reader, said fmt.Stringer) {
	defer close(p.done)
	lines := bufio.NewScanner(events)
	for lines.Scan() {
		var e struct {
			Event  string `json:"event"`
			Site   string `json:"site"`
			MonoNs int64  `json:"mono_ns"`
		}
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Event == "site" {
			p.set(e.Site, e.MonoNs, nil)
		}
	}
	err := p.cmd.Wait()
	if err != nil {
		err = fmt.Errorf("prober: %w: %s", err, strings.TrimSpace(said.String()))
	} else {
		err = errors.New("prober: ended")
	}
	p.set("", 0, err)
}

func (p *prober) set(site string, at int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.site, p.since, p.err = site, time.Now(), err
	if site != "" && len(p.spells) < maxSpells {
		p.spells = append(p.spells, spell{site, at})
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// until waits until ok holds of the answering site and the time since it answers, at most timeout.
func (p *prober) until(ctx context.Context, what string, timeout time.Duration, ok func(site string, since time.Time) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s: not within %s", what, timeout))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		site, since, err, changed := p.site, p.since, p.err, p.changed
		p.mu.Unlock()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case ok(site, since):
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-tick.C:
		}
	}
}

// answers returns who answered from a moment on, one after the other.
func (p *prober) answers(since int64) []spell {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.spells, func(s spell) bool { return s.from > since })
	if i < 0 {
		return nil
	}
	return slices.Clone(p.spells[i:])
}

// stop ends the prober and returns its report.
func (p *prober) stop() (probe.Report, error) {
	var report probe.Report
	_ = p.cmd.Process.Signal(unix.SIGINT)
	<-p.done
	data, err := os.ReadFile(p.report)
	if err != nil {
		return report, fmt.Errorf("prober: %w", err)
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return report, fmt.Errorf("prober: report %s: %w", filepath.Base(p.report), err)
	}
	return report, os.Remove(p.report)
}

// abandon ends the prober whatever it has to say.
func (p *prober) abandon() {
	_ = p.cmd.Process.Kill()
	<-p.done
	_ = os.Remove(p.report)
}
