package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/anyedge/anyedge/pkg/steering"
)

// translate makes the service of a name; ok is false where the name is not served. Who asks for it and does not get it, or
// not all of it, is told in w.denied and w.minor.
func (w *world) translate(name string) (s steering.Service, ok bool) {
	for o := range w.denied[name] {
		w.restless[o] = true
	}
	delete(w.denied, name)
	delete(w.minor, name)
	claims := w.claims[name]
	if len(claims) == 0 {
		return s, false
	}
	first := claims[0]
	for _, c := range claims[1:] {
		w.deny(name, c.owner, reasonTaken, "%s belongs to %s, which is older", name, first.owner)
	}
	w.restless[first.owner] = true
	if accept := w.rules.accept.Name; accept != nil {
		if err := accept(name); err != nil {
			w.deny(name, first.owner, reasonRefused, "%s", err)
			return s, false
		}
	}
	return w.build(name, first)
}

func (w *world) deny(name string, o owner, reason, format string, args ...any) {
	add2(w.denied, name, o, problem{reason, fmt.Sprintf(format, args...)})
	w.restless[o] = true
}

// note tells of something that is not done although the name is served.
func (w *world) note(name string, all ...problem) {
	if len(all) > 0 {
		w.minor[name] = append(w.minor[name], all...)
	}
}

// settings are those that a claim is steered by: its own notes come before those of its Service, which may not be there.
func (w *world) settings(c claim) settings {
	if backend := w.services.get(c.backend); backend != nil {
		return c.notes.over(backend.notes).settings()
	}
	return c.notes.settings()
}

// build makes the service of a name out of the Service that the claim leads to. Without pods the name exists all the same: who
// asks is told that there is nothing now, not that there never was.
func (w *world) build(name string, c claim) (steering.Service, bool) {
	backend, set := w.services.get(c.backend), w.settings(c)
	w.note(name, set.trouble...)
	s := steering.Service{Name: name, Policy: set.policy, Answers: set.answers, Panic: set.panic, SlowStart: set.slowStart, Namespace: c.owner.namespace, Allow: set.allow}
	s.Semantic = w.semantic(name, set.semantic)
	if (s.Policy == steering.RoundRobin || s.Policy == steering.Closest) && !s.Semantic.Complete() {
		s.SlowStart = 0 // weights are for nobody: each step of theirs would be for nothing
	}
	if backend == nil {
		w.note(name, problem{reasonNoService, fmt.Sprintf("%s: there is no Service %s", name, c.backend)})
		return s, true
	}
	if backend.external != "" {
		w.deny(name, c.owner, reasonExternal, "%s: Service %s is of type ExternalName and has no pods", name, c.backend)
		return s, false
	}
	wanted := cmp.Or(c.port, set.port)
	p, found := backend.port(wanted)
	if !found {
		w.note(name, problem{reasonNoPort, fmt.Sprintf("%s: Service %s has no port %s", name, c.backend, wanted)})
		return s, true
	}
	if set.asked.Format != "" && cmp.Or(set.asked.Port, p.number) == 0 {
		w.note(name, problem{reasonAnnotation, fmt.Sprintf("%s%s: the Service has no port to ask: annotate %s%s", prefix, noteLoad, prefix, noteLoadPort)})
	}
	s.Endpoints = join(p, w.sliced[c.backend], w.pods, w.rules.node)
	if odd := oddPort(s.Endpoints); c.web && odd != 0 && !set.anyPort {
		w.deny(name, c.owner, reasonTargetPort,
			"%s: pods listen on port %d, clients come to 80 and 443: let the pods listen there, or, where all clients go by SRV records, or by HTTPS records, which %s%s makes, annotate %s%s: true",
			name, odd, prefix, noteALPN, prefix, noteAnyPort)
		return steering.Service{}, false
	}
	if s.ALPN = set.alpn; len(set.alpn) > 0 && p.number == 0 {
		s.ALPN = nil
		w.note(name, problem{reasonAnnotation, fmt.Sprintf("%s%s: the Service has no port that HTTPS records could tell", prefix, noteALPN)})
	}
	var err error
	if s.PortName, s.Protocol, err = p.srv(); err != nil {
		w.note(name, problem{reasonPortName, fmt.Sprintf("%s: no SRV records: %s", name, err)})
	}
	return s, true
}

// port finds a port by its name or number; empty: the first one. A Service without ports, which only a headless one may be,
// has one of number 0.
func (s *service) port(wanted string) (p port, ok bool) {
	if wanted == "" {
		if len(s.ports) == 0 {
			return port{}, true
		}
		return s.ports[0], true
	}
	i := slices.IndexFunc(s.ports, func(p port) bool {
		return p.name == wanted || strconv.Itoa(int(p.number)) == wanted
	})
	if i < 0 {
		return port{}, false
	}
	return s.ports[i], true
}

// oddPort is a port of the endpoints that browsers do not come to; 0: none.
func oddPort(all []steering.Endpoint) uint16 {
	for _, e := range all {
		if e.Port != 80 && e.Port != 443 {
			return e.Port
		}
	}
	return 0
}

// srv is how SRV records name the port: by its own name, or by its application protocol where it has none. Empty: there are none.
func (p port) srv() (name, protocol string, err error) {
	name = p.name
	if name == "" {
		name = p.application
	}
	protocol = protocolOf(p.protocol)
	switch {
	case name == "":
		return "", "", nil
	case protocol == "":
		return "", "", fmt.Errorf("there are none for %s", p.protocol)
	case !isPortName(name) && p.name == "":
		return "", "", nil // an application protocol may be anything, such as kubernetes.io/h2c
	case !isPortName(name):
		return "", "", fmt.Errorf("port name %q has not 1 to 15 letters, digits and inner hyphens with a letter among them", name)
	default:
		return name, protocol, nil
	}
}

// isPortName is RFC 6335 section 5.1 in small letters.
func isPortName(s string) bool {
	return isLabel(s) && len(s) <= 15 && !strings.Contains(s, "--") && strings.ContainsFunc(s, unicode.IsLetter)
}
