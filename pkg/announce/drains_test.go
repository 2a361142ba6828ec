package announce

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

func openDrains(t *testing.T, path string, services ...Service) *Drains {
	t.Helper()
	d, err := OpenDrains(nil, path, services...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDrainsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "drains.json")
	d := openDrains(t, path, dns(), app())
	if err := d.Drain("dns"); err != nil {
		t.Fatal(err)
	}
	d = openDrains(t, path, dns(), app())
	if d.wanted(dns()) != "drained by request" || d.wanted(app()) != "" {
		t.Errorf("after a restart: %q, %q", d.wanted(dns()), d.wanted(app()))
	}
	if err := d.Drain(); err != nil {
		t.Fatal(err)
	}
	if d.wanted(app()) == "" {
		t.Error("app is not drained with all")
	}
	if err := d.Undrain(); err != nil {
		t.Fatal(err)
	}
	if d = openDrains(t, path, dns(), app()); d.wanted(dns()) != "" || d.wanted(app()) != "" {
		t.Error("still drained")
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestDrainsRefuse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "drains.json")
	for content, want := range map[string]string{
		"":                                "is no list of drained services",
		"{}":                              `has no "drained"`,
		`{"drained":{"dns":"yesterday"}}`: "is no list of drained services",
		`{"drained":{},"x":1}`:            "unknown field",
		`{"drained":{}}{}`:                "more than one value",
		strings.Repeat(" ", drainsLimit) + `{"drained":{}}`: "is larger than",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenDrains(nil, path, dns()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.20q: %v, want %s", content, err, want)
		}
	}
	d := openDrains(t, filepath.Join(dir, "missing", "drains.json"), dns())
	if err := d.Drain("dns"); err == nil || d.wanted(dns()) != "" {
		t.Errorf("drained though that cannot be kept: %v", err)
	}
	if err := d.Drain("web"); !errors.Is(err, ErrNoService) {
		t.Errorf("drain of an unknown service: %v", err)
	}
}

func FuzzParseDrains(f *testing.F) {
	for _, s := range []string{`{"drained":{"dns":"2026-11-23T22:06:02Z"}}`, "{}", "[", `{"drained":null}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := parseDrains(strings.NewReader(s)); err == nil && got.Drained == nil {
			t.Errorf("%q was taken for nothing", s)
		}
	})
}

// drainStage has one announced service that may be drained.
func drainStage(t *testing.T, service Service) (*stage, *Drains) {
	s := newStage(t, service)
	d := openDrains(t, "", service)
	s.build(Parts{Drains: d}, Config{Services: []Service{service}})
	s.start()
	s.health.set(service.Name, health.Up)
	s.sleep(service.Settle)
	s.record.take()
	return s, d
}

func (s *stage) is(want State) {
	s.t.Helper()
	synctest.Wait()
	if got := s.Status()[0]; got.State != want {
		s.t.Errorf("%+v, want %s", got, want)
	}
}

func TestControllerDrainsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d := drainStage(t, app())
		if err := d.Drain("app"); err != nil {
			t.Fatal(err)
		}
		s.is(Draining)
		s.sleep(4 * time.Second)
		s.expect("1s speaker: set [worse 2001:db8:80::80/128]")
		s.speaker.mu.Lock()
		s.speaker.unwritten = true
		s.speaker.mu.Unlock()
		s.sleep(time.Second)
		s.expect("6s speaker: set []")
		s.is(Withdrawing) // not every router was told
		if err := d.Undrain(); err != nil {
			t.Fatal(err)
		}
		s.expect("6s speaker: set [2001:db8:80::80/128]") // it was up all the time
		s.is(Up)
	})
}

func TestControllerDrained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d := drainStage(t, app())
		if err := d.Drain(); err != nil {
			t.Fatal(err)
		}
		s.sleep(time.Second)
		s.health.set("app", health.Down)
		s.expect("1s speaker: set [worse 2001:db8:80::80/128]", "2s speaker: set []", "2s speaker: wait 3: written")
		s.is(Drained)
		s.health.set("app", health.Up)
		s.sleep(time.Minute)
		s.is(Drained)
		s.cancel() // nothing is announced: nothing is waited for
		<-s.done
		s.expect("1m2s speaker: wait 3: written", "1m2s controller: done")
	})
}

func TestControllerObeysADrainFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "drain")
	synctest.Test(t, func(t *testing.T) {
		service := app()
		service.File = file
		s, _ := drainStage(t, service)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.sleep(lookEvery)
		s.is(Draining)
		if got := s.Status()[0].Drain; got != "drained by file "+file {
			t.Errorf("drain %q", got)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		s.sleep(lookEvery)
		s.is(Up)
	})
}
