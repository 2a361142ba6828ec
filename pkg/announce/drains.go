package announce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// lookEvery is how often drain files are looked for. A look is one lstat: cheap, and it needs no directory to be there.
const lookEvery = 250 * time.Millisecond

// drainsLimit bounds the file of the drains: it is a list of names.
const drainsLimit = 1 << 20

// ErrNoService is the error for a service that the agent does not know.
var ErrNoService = errors.New("no such service")

// Drains keeps which services are to be drained: by request, which outlives the process in a file, or because a drain file
// exists. All methods are safe for concurrent use, and a nil Drains asks for nothing.
type Drains struct {
	log     *slog.Logger
	path    string
	changed chan struct{} // capacity 1
	orders  sync.Mutex    // one request at a time; the disk is waited for under this one alone

	mu        sync.Mutex // guards all below; never held while waiting for anything
	services  []Service
	requested map[string]time.Time
	found     map[string]bool // services whose drain file exists
	unclear   map[string]bool // services whose drain file cannot be looked for; told
}

// OpenDrains reads what was requested before. Path "": requests end with the process. A file that cannot be read or
// understood is an error: a service must not come back because its drain was forgotten. Drain files are looked for here
// once, and by Run of the Controller.
func OpenDrains(log *slog.Logger, path string, services ...Service) (*Drains, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Drains{
		log: log, path: path, services: slices.Clone(services), changed: make(chan struct{}, 1),
		requested: make(map[string]time.Time), found: make(map[string]bool), unclear: make(map[string]bool),
	}
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("drains %s: %w; repair it, or remove it and drain again what is to stay drained", path, err)
	}
	d.look()
	return d, nil
}

// drainsFile is the file: {"drained":{"dns":"2026-11-23T22:06:02Z"}}.
type drainsFile struct {
	Drained map[string]time.Time `json:"drained"`
}

func (d *Drains) load() error {
	if d.path == "" {
		return nil
	}
	f, err := os.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	content, err := parseDrains(f)
	if err != nil {
		return err
	}
	for name, since := range content.Drained {
		if !d.knows(name) {
			d.log.Warn("a drained service is not there; it is drained if it comes", "service", name, "since", since)
		}
	}
	d.requested = content.Drained
	return nil
}

func parseDrains(r io.Reader) (f drainsFile, err error) {
	b, err := io.ReadAll(io.LimitReader(r, drainsLimit+1))
	if err != nil {
		return f, err
	}
	if len(b) > drainsLimit {
		return f, fmt.Errorf("is larger than %d bytes", drainsLimit)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return f, fmt.Errorf("is no list of drained services: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return f, errors.New("has more than one value")
	}
	if f.Drained == nil {
		return f, errors.New(`has no "drained"`)
	}
	return f, nil
}

func (d *Drains) knows(service string) bool {
	return slices.ContainsFunc(d.known(), func(s Service) bool { return s.Name == service })
}

// known are the services that there are now.
func (d *Drains) known() []Service {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.services
}

// follow replaces the services. Those that come with a drain file are not looked for: only those of the start have one.
func (d *Drains) follow(services []Service) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.services = services
}

// Drain requests to drain services, all when none is named.
func (d *Drains) Drain(services ...string) error { return d.request(true, services) }

// Undrain takes requests back, all when none is named. It does not touch drain files.
func (d *Drains) Undrain(services ...string) error { return d.request(false, services) }

// request changes all or nothing: first on disk, then here.
func (d *Drains) request(drain bool, services []string) error {
	for _, name := range services {
		if !d.knows(name) {
			return fmt.Errorf("%w: %q", ErrNoService, name)
		}
	}
	if len(services) == 0 {
		for _, s := range d.known() {
			services = append(services, s.Name)
		}
	}
	d.orders.Lock()
	defer d.orders.Unlock()
	next := maps.Clone(d.requested) // which only this function writes
	for _, name := range services {
		_, already := next[name]
		switch {
		case !drain:
			delete(next, name)
		case !already:
			next[name] = time.Now().UTC().Truncate(time.Second)
		}
	}
	if len(next) == len(d.requested) { // only ever added or only ever deleted: nothing changed
		return nil
	}
	if err := d.save(next); err != nil {
		return fmt.Errorf("drains %s: cannot be kept, so nothing was changed: %w", d.path, err)
	}
	d.mu.Lock()
	d.requested = next
	d.mu.Unlock()
	d.signal()
	return nil
}

// save replaces the file in one step, so that a crash leaves the old one or the new one.
func (d *Drains) save(requested map[string]time.Time) error {
	if d.path == "" {
		return nil
	}
	b, err := json.Marshal(drainsFile{requested})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(d.path), filepath.Base(d.path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), d.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func (d *Drains) signal() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// signals is the channel of changes; nil, which never has one, for nil Drains.
func (d *Drains) signals() <-chan struct{} {
	if d == nil {
		return nil
	}
	return d.changed
}

// wanted returns why a service is to be drained; "" when it is not.
func (d *Drains) wanted(s Service) string {
	if d == nil {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.requested[s.Name]; ok {
		return "drained by request"
	}
	if d.found[s.Name] {
		return "drained by file " + s.File
	}
	return ""
}

// watch looks for the drain files until ctx is done.
func (d *Drains) watch(ctx context.Context) {
	if d == nil || !slices.ContainsFunc(d.known(), func(s Service) bool { return s.File != "" }) {
		return
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if d.look() {
				d.signal()
			}
		}
	}
}

// look tells whether anything changed. Where it cannot tell whether a file exists, what it knew before holds.
func (d *Drains) look() (changed bool) {
	for _, s := range d.known() {
		if s.File == "" {
			continue
		}
		_, err := os.Lstat(s.File)
		changed = d.note(s, err) || changed
	}
	return changed
}

func (d *Drains) note(s Service, err error) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if !d.unclear[s.Name] {
			d.log.Error("drain file cannot be looked for, the service stays as it is", "service", s.Name, "drained", d.found[s.Name], "err", err)
		}
		d.unclear[s.Name] = true
		return false
	}
	d.unclear[s.Name] = false
	was := d.found[s.Name]
	d.found[s.Name] = err == nil
	return was != d.found[s.Name]
}
