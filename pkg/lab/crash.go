package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// crash is the death of a service that holds so much memory, e.g. "200MB": the kernel frees that before its sockets.
func crash(name, help, ballast string, sig syscall.Signal) Fault {
	f := program(name, help, "service", sig, false)
	f.ballast = ballast
	heal := f.heal
	f.heal = func(ctx context.Context, l *Lab, v victim) error { return errors.Join(removeCores(), heal(ctx, l, v)) }
	return f
}

// load gives the service that serves the client its ballast, and returns what takes it off again.
func (f Fault) load(ctx context.Context, l *Lab, p parts) (unload func(context.Context) error, err error) {
	if f.ballast == "" {
		return func(context.Context) error { return nil }, nil
	}
	site, err := l.serving(ctx, p)
	if err != nil {
		return nil, err
	}
	service, err := p.player("service", site)
	if err != nil {
		return nil, err
	}
	// A Go program dumps core only when asked to; the limit is inherited.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}); err != nil {
		return nil, fmt.Errorf("allow core dumps: %w", err)
	}
	was := l.topologyNode(service)
	is := was
	is.Cmd = append(slices.Clone(was.Cmd), "--ballast", f.ballast)
	is.Env = maps.Clone(was.Env)
	if is.Env == nil {
		is.Env = map[string]string{}
	}
	is.Env["GOTRACEBACK"] = "crash"
	return func(ctx context.Context) error { return l.replace(ctx, was) }, l.replace(ctx, is)
}

// replace ends a node's program and starts it as another one, and waits until the lab is ready again.
func (l *Lab) replace(ctx context.Context, as Node) error {
	p, err := l.node(as.Name)
	if err != nil {
		return err
	}
	p.stop(patience)
	p.node = as
	if err := p.start(); err != nil {
		return err
	}
	if err := sleep(ctx, noticed); err != nil {
		return err
	}
	return l.Ready(ctx)
}

// noticed is by when an agent has noticed and written that a program ended.
const noticed = time.Second

// removeCores removes core dumps of programs, which lie in the lab's own root where /proc/sys/kernel/core_pattern is a bare
// name. The machine's own files in / are not seen there.
func removeCores() error {
	if SandboxDir() == "" {
		return errors.New("core dumps: not in a lab")
	}
	cores, err := filepath.Glob("/core.[0-9]*")
	for _, c := range append(cores, "/core") {
		if info, statErr := os.Lstat(c); statErr == nil && info.Mode().IsRegular() {
			err = errors.Join(err, os.Remove(c))
		}
	}
	return err
}
