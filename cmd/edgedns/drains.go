package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

// drains are the endpoints that get nothing new by request. They are kept in a file, if there is one; one whose endpoint is not
// there now is kept, too, since it may come back.
type drains struct {
	file   string // empty: none
	list   map[drain]time.Time
	orders int // how many there were: list may have changed with each
}

// drain is one request.
type drain struct {
	Service string     `json:"service"`
	Address netip.Addr `json:"address"`
}

// kept is a drain as it is in the file.
type kept struct {
	drain
	Since time.Time `json:"since"`
}

// openDrains reads the file; that it is not there yet is fine.
func openDrains(file string) (*drains, error) {
	d := &drains{file: file, list: make(map[drain]time.Time)}
	if file == "" {
		return d, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("admin.drains: %w", err)
	}
	var all []kept
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("admin.drains %s: %w: remove it, or mend it", file, err)
	}
	for _, k := range all {
		d.list[k.drain] = k.Since
	}
	return d, nil
}

// set adds or removes a request; on error nothing changed.
func (d *drains) set(one drain, on bool, now time.Time) error {
	since, was := d.list[one]
	if was == on {
		return nil
	}
	d.orders++
	if on {
		d.list[one] = now
	} else {
		delete(d.list, one)
	}
	if err := d.save(); err != nil {
		if was {
			d.list[one] = since
		} else {
			delete(d.list, one)
		}
		return err
	}
	return nil
}

// save replaces the file as one: a crash leaves the old or the new one.
func (d *drains) save() error {
	if d.file == "" {
		return nil
	}
	all := []kept{}
	for one, since := range d.list {
		all = append(all, kept{one, since.UTC()})
	}
	slices.SortFunc(all, func(a, b kept) int {
		if n := strings.Compare(a.Service, b.Service); n != 0 {
			return n
		}
		return a.Address.Compare(b.Address)
	})
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(d.file, append(text, '\n')); err != nil {
		return fmt.Errorf("admin.drains: %w", err)
	}
	return nil
}

func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // once it was renamed there is none
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// apply marks the endpoints of sv that are drained by request, beside those whose source says so; changed tells whether that is
// news. sv's endpoints may be shared with whoever was told of them before.
func (d *drains) apply(sv *steering.Service, bySource []steering.Endpoint) (changed bool) {
	for i, e := range sv.Endpoints {
		_, requested := d.list[drain{sv.Name, e.Address.Unmap()}]
		draining := requested || bySource[i].Draining
		if e.Draining == draining {
			continue
		}
		if !changed {
			sv.Endpoints, changed = slices.Clone(sv.Endpoints), true
		}
		sv.Endpoints[i].Draining = draining
	}
	return changed
}

// reason is why an endpoint gets nothing new; empty: it does.
func (d *drains) reason(service string, e steering.Endpoint) string {
	since, requested := d.list[drain{service, e.Address.Unmap()}]
	switch {
	case requested:
		return "by request since " + since.UTC().Format(time.RFC3339)
	case e.Draining:
		return "its source says so"
	default:
		return ""
	}
}
