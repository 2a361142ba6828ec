package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A Fault is what an experiment does to one site, named as the experiment, and how that is healed.
type Fault struct {
	Name string
	Help string // for people: what happens
	DNS  bool   // measured with DNS queries; else with the UDP probe

	lasts   time.Duration // from the fault to the healing, whoever answers; zero: until another site has taken over, and then some
	ballast string        // memory that the service holds, e.g. "200MB"; empty: none but its own

	inject, heal func(context.Context, *Lab, victim) error
	next         func(context.Context, *Lab, victim) error // hits the site that took over, too; nil: nothing does
}

// A victim is the site that is hit.
type victim struct {
	parts  parts
	site   string
	host   string   // node that owns the site's network
	uplink Endpoint // of the host, towards its router
	port   Endpoint // of that router, at the other end
}

// Faults returns all experiments, in the order in which they are shown.
func Faults() []Fault {
	return []Fault{
		program("service-kill", "the service crashes (SIGKILL)", "service", syscall.SIGKILL, false),
		program("dns-kill", "edgedns crashes (SIGKILL)", "dns", syscall.SIGKILL, true),
		program("agent-kill", "edgeagent crashes (SIGKILL)", "agent", syscall.SIGKILL, false),
		program("service-hang", "the service hangs (SIGSTOP)", "service", syscall.SIGSTOP, false),
		program("agent-hang", "edgeagent hangs (SIGSTOP)", "agent", syscall.SIGSTOP, false),
		{Name: "link-down", Help: "the router's port to the host goes down", inject: uplinkDown, heal: uplinkUp},
		{Name: "link-loss", Help: "the host's uplink drops everything, silently", inject: silence, heal: unsilence},
		{Name: "host-down", Help: "the host loses its power", inject: powerOff, heal: powerOn},
		{Name: "drain", Help: "planned maintenance: edgectl drain, then undrain", inject: drain, heal: undrain},
		crash("service-kill-200m", "the service crashes (SIGKILL) and holds 200 MB", "200MB", syscall.SIGKILL),
		crash("service-kill-1g", "the service crashes (SIGKILL) and holds 1 GB", "1GB", syscall.SIGKILL),
		crash("service-core", "the service dumps core (SIGABRT) and holds 200 MB", "200MB", syscall.SIGABRT),
		restart(),
		targetDies(),
		allSick(),
		flap(),
	}
}

// FaultByName returns the fault of an experiment.
func FaultByName(name string) (Fault, error) {
	faults := Faults()
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		var names []string
		for _, f := range faults {
			names = append(names, f.Name)
		}
		return Fault{}, fmt.Errorf("no experiment %q: there are %s", name, strings.Join(names, ", "))
	}
	return faults[i], nil
}

// target returns what the prober asks.
func (f Fault) target(p parts) netip.AddrPort {
	if f.DNS {
		return p.dns
	}
	return p.vip
}

// program is a fault of one program of the site: a signal, and what undoes it.
func program(name, help, role string, sig syscall.Signal, dns bool) Fault {
	return Fault{
		Name: name, Help: help, DNS: dns,
		inject: func(_ context.Context, l *Lab, v victim) error { return v.signal(l, role, sig) },
		heal: func(_ context.Context, l *Lab, v victim) error {
			if sig == syscall.SIGSTOP {
				return v.signal(l, role, syscall.SIGCONT)
			}
			return v.start(l, role)
		},
	}
}

func (v victim) signal(l *Lab, role string, sig syscall.Signal) error {
	node, err := v.parts.player(role, v.site)
	if err != nil {
		return err
	}
	return l.Signal(node, sig)
}

func (v victim) start(l *Lab, role string) error {
	node, err := v.parts.player(role, v.site)
	if err != nil {
		return err
	}
	return l.Start(node)
}

func uplinkDown(_ context.Context, l *Lab, v victim) error { return l.setLink(v.port, false) }
func uplinkUp(_ context.Context, l *Lab, v victim) error   { return l.setLink(v.port, true) }

func silence(_ context.Context, l *Lab, v victim) error {
	return l.space(l.topologyNode(v.host)).do(drop(v.uplink.Interface))
}
func unsilence(_ context.Context, l *Lab, v victim) error {
	return l.space(l.topologyNode(v.host)).do(pass)
}

// roles of the programs that end with their host.
var roles = []string{"agent", "dns", "service"}

// powerOff ends all programs of the host and takes the carriers of all its links.
func powerOff(_ context.Context, l *Lab, v victim) error {
	var errs []error
	for _, e := range l.interfaces(v.host) {
		errs = append(errs, l.setLink(e, false))
	}
	for _, role := range roles {
		errs = append(errs, v.signal(l, role, syscall.SIGKILL))
	}
	return errors.Join(errs...)
}

// powerOn undoes it. The addresses and routes went with the links: the node's program sets them again.
func powerOn(_ context.Context, l *Lab, v victim) error {
	var errs []error
	for _, e := range l.interfaces(v.host) {
		errs = append(errs, l.setLink(e, true))
	}
	errs = append(errs, l.restart(v.host))
	for _, role := range roles {
		errs = append(errs, v.start(l, role))
	}
	return errors.Join(errs...)
}
