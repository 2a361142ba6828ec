package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// A Fault is what an experiment does to one site, named as the experiment.
type Fault struct {
	Name string
	Role string // of the node that is hit
	DNS  bool   // measured with DNS queries; else with the UDP probe
}

// Faults returns all experiments, in the order in which they are shown. Each ends a program by SIGKILL, as a crash or
// the kernel's out-of-memory killer does, and heals it by starting the program again.
func Faults() []Fault {
	return []Fault{
		{Name: "service-kill", Role: "service"},
		{Name: "dns-kill", Role: "dns", DNS: true},
		{Name: "agent-kill", Role: "agent"},
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

// inject hits the fault's node at site and returns its name and the moment just before, CLOCK_MONOTONIC.
func (f Fault) inject(l *Lab, p parts, site string) (node string, at int64, err error) {
	node, err = p.player(f.Role, site)
	if err != nil {
		return "", 0, err
	}
	at = monotonic()
	return node, at, l.Signal(node, syscall.SIGKILL)
}

// target returns what the prober asks.
func (f Fault) target(p parts) netip.AddrPort {
	if f.DNS {
		return p.dns
	}
	return p.vip
}
