package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/anyedge/anyedge/pkg/probe"
)

// liveTerminal returns the terminal for live progress, or nil: stderr, unless machines read a stdout that is a terminal
// too, most likely the same.
func liveTerminal(stdout, stderr io.Writer, machines bool) *os.File {
	live := asTerminal(stderr)
	if machines && asTerminal(stdout) != nil {
		return nil
	}
	return live
}

func asTerminal(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// progress rewrites one line of a terminal.
type progress struct {
	terminal *os.File
}

func (p *progress) show(e probe.Event) {
	width, _, err := term.GetSize(int(p.terminal.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	// A full last column makes some terminals wrap.
	fmt.Fprint(p.terminal, "\r\x1b[K", progressLine(e, width-1))
}

func (p *progress) clear() { fmt.Fprint(p.terminal, "\r\x1b[K") }

// progressLine tells the most important first: what does not fit in width is left out piece by piece from the end.
func progressLine(e probe.Event, width int) string {
	site := e.Site
	if site == "" {
		site = "nobody"
	}
	pieces := []string{
		site, fmt.Sprintf("sent %d", e.Sent), fmt.Sprintf("lost %d", e.Lost),
		fmt.Sprintf("rtt %.2f ms", e.RTTMs), fmt.Sprintf("answered %d", e.Received),
	}
	if e.OutageMs > 0 {
		outage := time.Duration(e.OutageMs * float64(time.Millisecond)).Round(10 * time.Millisecond)
		pieces[0] = fmt.Sprintf("OUTAGE %s (last %s)", outage, site)
	}
	line := ""
	for _, piece := range pieces {
		if line != "" {
			piece = "  " + piece
		}
		if len(line)+len(piece) > width {
			break
		}
		line += piece
	}
	if line == "" {
		return pieces[0][:max(0, min(width, len(pieces[0])))]
	}
	return strings.TrimRight(line, " ")
}
