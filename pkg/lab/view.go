package lab

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// viewInterval is how often the live view is drawn.
	viewInterval = 250 * time.Millisecond
	// viewEvents is how many of the latest events it shows.
	viewEvents = 8
)

// A view is what the live view shows of a lab that is up.
type view struct {
	lab    string
	target string
	client clientView
	sites  []siteView
	events []viewEvent // the latest ones, oldest first
}

type clientView struct {
	site                 string // that answers; empty: none does
	sent, received, lost int
}

type siteView struct {
	name     string
	services []string // "dns up", in the order of the names
	sessions []string // "2001:db8::1 established, BFD up"
}

type viewEvent struct {
	at   int64 // CLOCK_MONOTONIC
	text string
}

// View draws which site serves the client of a lab that is up, what it loses, and what every agent says, until ctx is
// done. It starts a prober in the client's node for as long as it runs.
func View(ctx context.Context, s Sandbox, t Topology, out io.Writer) error {
	p, err := findParts(t)
	if err != nil {
		return err
	}
	if _, err := s.Pid(); err != nil {
		return err
	}
	l := &Lab{Topology: t, opts: Options{State: s.Dir}}
	events := make(chan probeEvent, 16)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer close(events); return s.probe(ctx, p, events) })
	g.Go(func() error { return draw(ctx, l, p, events, out) })
	return g.Wait()
}

// probeEvent is a line of `edgeprobe run --events`.
type probeEvent struct {
	Event    string  `json:"event"`
	State    string  `json:"state"`
	Site     string  `json:"site"`
	MonoNs   int64   `json:"mono_ns"`
	Sent     int     `json:"sent"`
	Received int     `json:"received"`
	Lost     int     `json:"lost"`
	OutageMs float64 `json:"outage_ms"`
}

// probe runs a prober in the client's node until ctx is done.
func (s Sandbox) probe(ctx context.Context, p parts, events chan<- probeEvent) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "exec", s.Name, p.client, "--",
		"edgeprobe", "run", "--target", p.vip.String(), "--interval", "10ms", "--duration", "0", "--events", "-")
	// The prober is a child of nsenter, which ends by itself when it is interrupted: both have to be told.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = patience
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e probeEvent
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		select {
		case events <- e:
		case <-ctx.Done():
		}
	}
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("prober of the view: %w", err)
	}
	return nil
}

// draw redraws the view in place. Each drawing reads the agents' journals again: they are short, and need no rights.
func draw(ctx context.Context, l *Lab, p parts, events <-chan probeEvent, out io.Writer) error {
	v := view{lab: l.Topology.Name, target: p.vip.String()}
	tick := time.NewTicker(viewInterval)
	defer tick.Stop()
	var answers []viewEvent
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil
			}
			v.client.take(e)
			if text := e.news(); text != "" {
				answers = latest(append(answers, viewEvent{e.MonoNs, text}))
			}
			continue
		case <-tick.C:
		}
		v.events = answers
		if err := v.readSites(l, p); err != nil {
			return err
		}
		// Home, the text, and whatever was below it cleared.
		if _, err := fmt.Fprintf(out, "\x1b[H%s\x1b[J", strings.ReplaceAll(v.String(), "\n", "\x1b[K\n")); err != nil {
			return err
		}
	}
}

// take brings the client's figures up to date. An event names the site that answered last, also when nobody does any more.
func (c *clientView) take(e probeEvent) {
	*c = clientView{site: e.Site, sent: e.Sent, received: e.Received, lost: e.Lost}
	if e.OutageMs > 0 {
		c.site = ""
	}
}

// news tells what happened to the client; empty: nothing that is worth a line.
func (e probeEvent) news() string {
	switch {
	case e.Event == "site":
		return e.Site + " answers the client"
	case e.Event == "outage" && e.State == "start":
		return "nobody answers the client"
	case e.Event == "outage":
		return e.Site + " answers the client again"
	default:
		return ""
	}
}

// readSites takes what the agents' journals say. A site without an agent has nothing to say.
func (v *view) readSites(l *Lab, p parts) error {
	v.sites = nil
	for _, name := range p.sites {
		agent, err := p.player("agent", name)
		if err != nil {
			v.sites = append(v.sites, siteView{name: name})
			continue
		}
		entries, err := l.journal(agent)
		if err != nil {
			return err
		}
		site, events := readSite(name, entries)
		v.sites = append(v.sites, site)
		v.events = append(v.events, events...)
	}
	v.events = latest(v.events)
	return nil
}

// readSite tells where a site stands after its journal, and what happened.
func readSite(name string, entries []entry) (siteView, []viewEvent) {
	services, sessions, paths := map[string]string{}, map[string]string{}, map[string]string{}
	var events []viewEvent
	for _, e := range entries {
		switch e.Event {
		case "start":
			clear(services)
			clear(sessions)
			clear(paths)
			events = append(events, viewEvent{e.MonoNs, name + ": agent starts"})
		case "decision":
			services[e.Service] = e.State
			events = append(events, viewEvent{e.MonoNs, fmt.Sprintf("%s: %s %s: %s", name, e.Service, e.State, e.Reason)})
		case "session":
			if e.Protocol == "bfd" {
				paths[e.Neighbor] = e.State
				continue
			}
			sessions[e.Neighbor] = e.State
		}
	}
	for neighbor, state := range paths {
		sessions[neighbor] = cmp.Or(sessions[neighbor], "idle") + ", BFD " + state
	}
	return siteView{name, joined(services), joined(sessions)}, events
}

func joined(m map[string]string) []string {
	var list []string
	for k, v := range m {
		list = append(list, k+" "+v)
	}
	slices.Sort(list)
	return list
}

func latest(events []viewEvent) []viewEvent {
	slices.SortStableFunc(events, func(a, b viewEvent) int { return cmp.Compare(a.at, b.at) })
	return slices.Clone(events[max(0, len(events)-viewEvents):])
}

// String lays the view out.
func (v view) String() string {
	var b strings.Builder
	c := v.client
	fmt.Fprintf(&b, "%s: client -> %s   served by %s   sent %d, answered %d, lost %d\n\n",
		v.lab, v.target, cmp.Or(c.site, "nobody"), c.sent, c.received, c.lost)
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "\tSITE\tSERVICES\tBGP SESSIONS")
	for _, s := range v.sites {
		mark := ""
		if s.name == c.site {
			mark = ">"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", mark, s.name, strings.Join(s.services, ", "), strings.Join(s.sessions, "; "))
	}
	_ = t.Flush() // into memory
	b.WriteString("\n")
	for _, e := range v.events {
		fmt.Fprintf(&b, "%12.3f  %s\n", float64(e.at)/1e9, e.text)
	}
	b.WriteString("\nCtrl-C ends the view; the lab stays up.\n")
	return b.String()
}
