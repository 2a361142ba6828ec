package kube

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anyedge/anyedge/pkg/steering"
)

// prefix begins all labels and annotations that are ours.
const prefix = "anyedge/"

// The annotations. An Ingress may have those of a Service, and then they count for its hosts.
const (
	noteHostname = "hostname" // names, separated by commas; Services only
	noteExpose   = "expose"   // "true": by the default name; "false": not at all. Or a label
	notePolicy   = "policy"
	noteAnswers  = "answers"
	notePanic    = "panic"
	noteBelow    = "panic-below"
	noteFallback = "panic-fallback" // addresses of another site, separated by commas
	noteSlow     = "slow-start"
	noteAllow    = "allow"    // other namespaces whose clients may see it, separated by commas; *: all
	noteSemantic = "semantic" // APP.APP_NS.SERVICE.SERVICE_NS
	notePort     = "port"     // of the Service, by name or number
	noteAnyPort  = "any-port" // "true": clients of the Ingress take the port from SRV or HTTPS records
	noteTLS      = "tls"      // "pods": the pods have the certificate
	noteALPN     = "alpn"     // all that the pods speak over TLS, separated by commas
	noteCapacity = "capacity" // of a pod

	noteLoad     = "load" // how the pods tell it: "prometheus", "json" or "orca"
	noteLoadPort = "load-port"
	noteLoadPath = "load-path"
	noteInFlight = "load-in-flight" // what they call a signal, as the two below
	noteLatency  = "load-latency"
	noteCPU      = "load-cpu"

	// Of Services of type LoadBalancer, for the agent.
	noteAddress   = "address" // addresses, separated by commas
	notePool      = "pool"
	noteCheck     = "check" // tcp, http or none
	noteCheckPort = "check-port"
	noteCheckPath = "check-path"
)

// maxAnswers is what an answer may hold; maxSlowStart bounds what is a mistake.
const (
	maxAnswers   = 16
	maxSlowStart = time.Hour
)

// notes are an object's labels and annotations below prefix, without it. An annotation wins.
type notes map[string]string

func newNotes(o *metav1.ObjectMeta) notes {
	var n notes
	for _, all := range []map[string]string{o.Labels, o.Annotations} {
		for k, v := range all {
			if name, ours := strings.CutPrefix(k, prefix); ours {
				if n == nil {
					n = make(notes)
				}
				n[name] = strings.TrimSpace(v)
			}
		}
	}
	return n
}

func (n notes) equal(other notes) bool { return maps.Equal(n, other) }

// over returns both, n's own where both have a note.
func (n notes) over(other notes) notes {
	both := maps.Clone(other)
	if both == nil {
		both = make(notes)
	}
	maps.Copy(both, n)
	return both
}

// settings are how a name is steered. What cannot be read stays at its default, and is told: a typing mistake must not
// take a service down.
type settings struct {
	policy    steering.Policy
	answers   int
	panic     steering.Panic
	slowStart time.Duration
	allow     []string
	semantic  steering.Semantic
	port      string
	anyPort   bool
	alpn      []string
	asked     Asked
	trouble   []problem
}

func (n notes) settings() settings {
	s := settings{policy: steering.RoundRobin, slowStart: steering.DefaultSlowStart, port: n[notePort]}
	for _, name := range slices.Sorted(maps.Keys(n)) {
		s.bad(name, s.read(name, n[name]))
	}
	s.bad(noteFallback, s.checkFallback())
	s.bad(noteLoad, s.checkLoad())
	return s
}

// bad tells of a note that cannot be taken as it is; a nil error is none.
func (s *settings) bad(name string, err error) {
	if err != nil {
		s.trouble = append(s.trouble, problem{reasonAnnotation, fmt.Sprintf("%s%s: %s", prefix, name, err)})
	}
}

func (s *settings) read(name, value string) error {
	switch name {
	case notePolicy:
		return s.readPolicy(value)
	case noteAnswers:
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxAnswers {
			return fmt.Errorf("must be a whole number from 1 to %d, not %q", maxAnswers, value)
		}
		s.answers = n
	case notePanic:
		return s.readPanic(value)
	case noteBelow:
		share, err := strconv.ParseFloat(value, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			return fmt.Errorf("must be a number from 0 to 1, not %q", value)
		}
		s.panic.Below = share
	case noteFallback:
		return s.readFallback(value)
	case noteSlow:
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 || d > maxSlowStart {
			return fmt.Errorf("must be a duration from 0s to 1h, not %q", value)
		}
		s.slowStart = d
	case noteAllow:
		return s.readAllow(value)
	case noteSemantic:
		return s.readSemantic(value)
	case noteALPN:
		return s.readALPN(value)
	case noteAnyPort:
		s.anyPort = value == "true"
		return oneOf(value, "true", "false")
	case noteTLS:
		return oneOf(value, "pods")
	case noteExpose:
		return oneOf(value, "true", "false")
	case noteHostname, notePort, noteAddress, notePool, noteCheck, noteCheckPort, noteCheckPath:
	default:
		return s.readLoad(name, value)
	}
	return nil
}

// known are the notes of Services and Ingresses.
var known = []string{
	noteHostname, noteExpose, notePolicy, noteAnswers, notePanic, noteBelow, noteFallback, noteSlow, noteAllow, noteSemantic, notePort, noteAnyPort, noteTLS, noteALPN,
	noteLoad, noteLoadPort, noteLoadPath, noteInFlight, noteLatency, noteCPU,
	noteAddress, notePool, noteCheck, noteCheckPort, noteCheckPath,
}

var policies = []steering.Policy{
	steering.RoundRobin, steering.Capacity, steering.Hash, steering.Closest, steering.ClosestCapacity,
}

func (s *settings) readPolicy(value string) error {
	var names []string
	for _, p := range policies {
		if p.String() == value {
			s.policy = p
			return nil
		}
		names = append(names, p.String())
	}
	return oneOf(value, names...)
}

var panicModes = []steering.PanicMode{steering.PanicAll, steering.PanicNone, steering.PanicOther}

func (s *settings) readPanic(value string) error {
	var names []string
	for _, m := range panicModes {
		if m.String() == value {
			s.panic.Mode = m
			return nil
		}
		names = append(names, m.String())
	}
	return oneOf(value, names...)
}

// readFallback takes all addresses or none: what is left out would be missed in the worst moment.
func (s *settings) readFallback(value string) error {
	var all []netip.Addr
	for _, text := range listed(value) {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || !a.IsGlobalUnicast() {
			return fmt.Errorf("must be addresses of another site, separated by commas, not %q", text)
		}
		if !slices.Contains(all, a.Unmap()) {
			all = append(all, a.Unmap())
		}
	}
	s.panic.Fallback = all
	return nil
}

// checkFallback tells what the notes on panic cannot do together.
func (s *settings) checkFallback() error {
	switch other := s.panic.Mode == steering.PanicOther; {
	case other && len(s.panic.Fallback) == 0:
		s.panic.Mode = steering.PanicAll
		return fmt.Errorf("is missing or wrong, so all answer in panic, and not another site")
	case !other && len(s.panic.Fallback) > 0:
		s.panic.Fallback = nil
		return fmt.Errorf("does nothing without %s%s: other", prefix, notePanic)
	default:
		return nil
	}
}

func (s *settings) readAllow(value string) error {
	all := listed(value)
	for _, ns := range all {
		if !isLabel(ns) && ns != steering.AnyNamespace {
			return fmt.Errorf("must be namespaces, separated by commas, or %s, not %q", steering.AnyNamespace, ns)
		}
	}
	s.allow = all
	return nil
}

func (s *settings) readSemantic(value string) error {
	labels := strings.Split(strings.ToLower(value), ".")
	if len(labels) != 4 || slices.ContainsFunc(labels, func(l string) bool { return !isLabel(l) }) {
		return fmt.Errorf("must be APP.APP_NS.SERVICE.SERVICE_NS, each a label, not %q", value)
	}
	s.semantic = steering.Semantic{App: labels[0], AppNS: labels[1], Service: labels[2], ServiceNS: labels[3]}
	return nil
}

func (s *settings) readALPN(value string) error {
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("./-_", r))
	}
	var all []string
	for _, id := range listed(value) {
		if len(id) > 32 || strings.ContainsFunc(id, odd) || slices.Contains(all, id) {
			return fmt.Errorf("must be protocols of TLS, such as h2,http/1.1, each once, not %q", id)
		}
		all = append(all, id)
	}
	s.alpn = all
	return nil
}

// listed splits a list, whose items have commas or spaces between them.
func listed(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

func oneOf(value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("must be %s, not %q", strings.Join(allowed, " or "), value)
}

// capacity is what the pod's annotation says; ok is false when it says nothing that makes sense.
func (p *pod) capacity() (c float64, ok bool) {
	c, err := strconv.ParseFloat(p.notes[noteCapacity], 64)
	return c, err == nil && c > 0 && !math.IsInf(c, 1)
}
