package health

import "reflect"

// Inherit takes over from old what it knows of the checks that m has too: those that look at the same thing in the same
// way, under the same name, in a service of the same name, however often. Checks that watch are left out: they tell at
// once. It may be called once, before Run, and after old's Run has returned.
func (m *Monitor) Inherit(old *Monitor) {
	old.mu.Lock()
	defer old.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	known := make(map[string]*service, len(old.services))
	for _, s := range old.services {
		known[s.name] = s
	}
	for _, s := range m.services {
		if was := known[s.name]; was != nil {
			s.inherit(was)
			m.degrade(s)
		}
	}
	m.news = nil // nothing of it is new
	m.metrics.init(m.services)
}

func (s *service) inherit(old *service) {
	known := make(map[string]*check, len(old.checks))
	for _, c := range old.checks {
		known[c.Name] = c
	}
	for _, c := range s.checks {
		if was := known[c.Name]; was != nil && !c.watches() && sameChecker(c.Checker, was.Checker) {
			c.counter.state, c.reason, c.since = was.counter.state, was.reason, was.since
			c.passed, c.took = was.passed, was.took
		}
	}
	s.verdict = verdict{}.combine(s.statusOf(false), s.need)
	if s.verdict.state == old.verdict.state {
		s.verdict, s.since, s.noticed = old.verdict, old.since, old.noticed
	}
}

// sameChecker tells whether two checkers look at the same thing in the same way.
func sameChecker(a, b Checker) bool {
	x, isHTTP := a.(HTTP)
	y, both := b.(HTTP)
	if isHTTP && both && x.Roots != nil && y.Roots != nil && x.Roots.Equal(y.Roots) {
		x.Roots, y.Roots = nil, nil // they hold functions, which are never equal
		return reflect.DeepEqual(x, y)
	}
	return reflect.DeepEqual(a, b)
}
