package kube

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

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
	notePort     = "port"     // of the Service, by name or number
	noteAnyPort  = "any-port" // "true": clients of the Ingress take the port from SRV or HTTPS records
	noteTLS      = "tls"      // "pods": the pods have the certificate
	noteCapacity = "capacity" // of a pod

	noteLoad     = "load" // how the pods tell it: "prometheus", "json" or "orca"
	noteLoadPort = "load-port"
	noteLoadPath = "load-path"
	noteInFlight = "load-in-flight" // what they call a signal, as the two below
	noteLatency  = "load-latency"
	noteCPU      = "load-cpu"
)

// maxAnswers is what an answer may hold.
const maxAnswers = 16

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
	policy  steering.Policy
	answers int
	panic   steering.Panic
	port    string
	anyPort bool
	asked   Asked
	trouble []problem
}

func (n notes) settings() settings {
	s := settings{policy: steering.RoundRobin, answers: 1, port: n[notePort]}
	for _, name := range slices.Sorted(maps.Keys(n)) {
		s.bad(name, s.read(name, n[name]))
	}
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
		if value == "none" {
			s.panic.Mode = steering.PanicNone
		}
		return oneOf(value, "all", "none")
	case noteBelow:
		share, err := strconv.ParseFloat(value, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			return fmt.Errorf("must be a number from 0 to 1, not %q", value)
		}
		s.panic.Below = share
	case noteAnyPort:
		s.anyPort = value == "true"
		return oneOf(value, "true", "false")
	case noteTLS:
		return oneOf(value, "pods")
	case noteExpose:
		return oneOf(value, "true", "false")
	case noteHostname, notePort:
	default:
		return s.readLoad(name, value)
	}
	return nil
}

// known are the notes of Services and Ingresses.
var known = []string{
	noteHostname, noteExpose, notePolicy, noteAnswers, notePanic, noteBelow, notePort, noteAnyPort, noteTLS,
	noteLoad, noteLoadPort, noteLoadPath, noteInFlight, noteLatency, noteCPU,
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
