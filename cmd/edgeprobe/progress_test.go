package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/probe"
)

func TestProgressLine(t *testing.T) {
	t.Parallel()
	well := probe.Event{Site: "mec-1", Sent: 1200, Received: 1199, Lost: 1, RTTMs: 12.345}
	down := well
	down.OutageMs = 1234.5
	for _, tt := range []struct {
		e     probe.Event
		width int
		want  string
	}{
		{well, 79, "mec-1  sent 1200  lost 1  rtt 12.35 ms  answered 1199"},
		{down, 79, "OUTAGE 1.23s (last mec-1)  sent 1200  lost 1  rtt 12.35 ms  answered 1199"},
		{probe.Event{}, 79, "nobody  sent 0  lost 0  rtt 0.00 ms  answered 0"},
		{well, 30, "mec-1  sent 1200  lost 1"},
		{well, 5, "mec-1"},
		{well, 3, "mec"},
		{well, 0, ""},
		{well, -1, ""},
	} {
		if got := progressLine(tt.e, tt.width); got != tt.want {
			t.Errorf("width %d: %q, want %q", tt.width, got, tt.want)
		}
	}
}

// openTerminal returns both ends of a terminal of 40 columns.
func openTerminal(t *testing.T) (outer, inner *os.File) {
	t.Helper()
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal: %v", err)
	}
	t.Cleanup(func() { _ = outer.Close() })
	n, err := unix.IoctlGetInt(int(outer.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(outer.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	inner, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	if err := unix.IoctlSetWinsize(int(inner.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 40}); err != nil {
		t.Fatal(err)
	}
	return outer, inner
}

func TestProgressOnATerminal(t *testing.T) {
	nettest.Need(t)
	outer, inner := openTerminal(t)
	target := responder(t)
	shown := make(chan string)
	go func() {
		var all bytes.Buffer
		buf := make([]byte, 4096)
		for !bytes.Contains(all.Bytes(), []byte("no outages")) {
			n, err := outer.Read(buf)
			if err != nil {
				break
			}
			all.Write(buf[:n])
		}
		shown <- all.String()
	}()
	if status := run(t.Context(), []string{"run", "--target", target, "--duration", "300ms"}, inner, inner); status != 0 {
		t.Errorf("status %d", status)
	}
	live, summary, ok := strings.Cut(<-shown, "\r\x1b[K"+target)
	if !ok || !strings.Contains(summary, "mec-1") {
		t.Errorf("no cleared line before the summary in %q", live)
	}
	lines := strings.Split(live, "\r\x1b[K")
	if len(lines) < 2 {
		t.Errorf("no progress in %q", live)
	}
	for _, line := range lines {
		if len(line) >= 40 || strings.ContainsAny(line, "\n") {
			t.Errorf("%q does not fit the width", line)
		}
	}
}

// Machines on a terminal are not disturbed.
func TestNoProgressAmongJSON(t *testing.T) {
	_, inner := openTerminal(t)
	if liveTerminal(inner, inner, true) != nil || liveTerminal(inner, inner, false) == nil {
		t.Error("want progress on a terminal, and none among the lines for machines")
	}
	if liveTerminal(&bytes.Buffer{}, inner, true) == nil || liveTerminal(inner, &bytes.Buffer{}, false) != nil {
		t.Error("want progress where stderr is a terminal")
	}
}
