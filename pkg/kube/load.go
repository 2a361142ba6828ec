package kube

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/anyedge/anyedge/pkg/steering"
)

// Asked is where the pods of a Service tell their load themselves, as its annotations say. The zero value: nowhere.
type Asked struct {
	Format                 string // "prometheus", "json" or "orca"
	Port                   uint16 // 0: that of the endpoint
	Path                   string // with query; empty: that of the format
	InFlight, Latency, CPU string // what the signals are called; empty: as is well known
}

// A Pod is one behind an endpoint, as far as a Meter needs to know it. The zero value: none is known.
type Pod struct {
	Namespace, Name string
	Host            netip.Addr // of its node; not valid: not known yet
	Limit           float64    // processors that it may use; 0: not known
	Request         float64    // processors that it counts on, where Limit is not known
}

func (p Pod) key() key { return key{p.Namespace, p.Name} }

// part is how much of all that the pod may use so many processors are. Where there is no limit nobody knows what all of it
// is: as much as it requested is a half, and nothing is ever the whole.
func (p Pod) part(processors float64) float64 {
	if p.Limit > 0 {
		return processors / p.Limit
	}
	return processors / (processors + p.Request)
}

// Behind tells who knows the load of a service that Update told of: its endpoints themselves, where the zero Asked says that they are
// not to be asked, and the pods behind them, in their order. By round robin no load is wanted: there are neither.
func (s *Source) Behind(sv steering.Service) (Asked, []Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world.behind(sv)
}

func (w *world) behind(sv steering.Service) (Asked, []Pod) {
	claims := w.claims[sv.Name]
	if len(claims) == 0 || sv.Policy == steering.RoundRobin {
		return Asked{}, nil
	}
	backend := w.services.get(claims[0].backend)
	if backend == nil {
		return Asked{}, nil
	}
	set := w.settings(claims[0])
	p, found := backend.port(cmp.Or(claims[0].port, set.port))
	if !found {
		return set.asked, nil
	}
	return set.asked, w.podsOf(sv, candidates(p, w.sliced[backend.key], w.pods))
}

// podsOf are the pods behind the endpoints of sv. What they use is told against what all of them have: limits, else requests,
// else a whole processor.
func (w *world) podsOf(sv steering.Service, found map[netip.AddrPort]candidate) []Pod {
	limits, requests := declared(found)
	all := make([]Pod, len(sv.Endpoints))
	for i, e := range sv.Endpoints {
		p := found[netip.AddrPortFrom(e.Address, e.Port)].pod
		if p == nil {
			continue
		}
		all[i] = Pod{Namespace: p.namespace, Name: p.name, Host: p.host.Value()}
		switch {
		case limits:
			all[i].Limit = float64(p.limit) / 1000
		case requests:
			all[i].Request = float64(p.request) / 1000
		default:
			all[i].Request = 1
		}
	}
	return all
}

// readLoad reads the notes that tell how pods tell their load.
func (s *settings) readLoad(name, value string) error {
	switch name {
	case noteLoad:
		if err := oneOf(value, "prometheus", "json", "orca"); err != nil {
			return err
		}
		s.asked.Format = value
	case noteLoadPort:
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("must be a port from 1 to 65535, not %q", value)
		}
		s.asked.Port = uint16(port)
	case noteLoadPath:
		if !isPath(value) {
			return fmt.Errorf("must be a path, such as /metrics, not %q", value)
		}
		s.asked.Path = value
	case noteInFlight:
		return readSignal(&s.asked.InFlight, value)
	case noteLatency:
		return readSignal(&s.asked.Latency, value)
	case noteCPU:
		return readSignal(&s.asked.CPU, value)
	default:
		return fmt.Errorf("is not known: here may stand %s", strings.Join(known, ", "))
	}
	return nil
}

// isPath tells whether text can stand in a request: nothing in it may end its line, or the path.
func isPath(text string) bool {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }
	return strings.HasPrefix(text, "/") && len(text) <= 1024 && !strings.ContainsFunc(text, odd)
}

func readSignal(to *string, value string) error {
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_:.-/", r))
	}
	if value == "" || len(value) > 255 || strings.ContainsFunc(value, odd) {
		return fmt.Errorf("must be the name of a metric or field, without labels, not %q", value)
	}
	*to = value
	return nil
}

// checkLoad tells what the notes on load cannot do together; they do nothing then.
func (s *settings) checkLoad() error {
	asked := s.asked
	switch {
	case asked == Asked{}:
		return nil
	case asked.Format == "":
		s.asked = Asked{}
		return errors.New("is missing or wrong, so nothing is asked, whatever the other annotations on load say")
	case s.policy == steering.RoundRobin:
		s.asked = Asked{}
		return fmt.Errorf("does nothing with policy rr: annotate %s%s: capacity", prefix, notePolicy)
	default:
		return nil
	}
}
