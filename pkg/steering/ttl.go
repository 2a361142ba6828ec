package steering

import "time"

// mostTTL bounds how long an answer may be kept whose endpoints are checked, however slowly.
const mostTTL = 30 * time.Second

// Soon is the shortest that an Endpoint Holds: its state may change at any moment.
const Soon = time.Nanosecond

// leastTTL is that of panic and of drains: what is answered then is not to outlive them.
const leastTTL = time.Second

// TTL is how long an answer may be kept: until the state of an endpoint can change at the earliest, which takes
// holds (0: nobody checks), from least to most. (The rule of gdnsd.) It is whole seconds.
func TTL(holds, least, most time.Duration) time.Duration {
	if holds > 0 {
		most = max(min(most, holds, mostTTL), min(least, most))
	}
	return max(most.Truncate(time.Second), leastTTL)
}

// TTL is that of the picker's answers: the shortest in panic and while an endpoint drains, else by what the checks take at
// least to change anything.
func (p *Picker) TTL(least, most time.Duration) time.Duration {
	if p.hasty {
		return leastTTL
	}
	return TTL(p.holds, least, most)
}

// last tells how long the choice lasts: hasty, when the next change is near; else what the checks take at least.
func (s Service) last(f Family, c choice) (holds time.Duration, hasty bool) {
	hasty = c.reason != "" || c.leaving
	for _, e := range s.Endpoints {
		if !f.has(e.Address.Unmap()) {
			continue
		}
		hasty = hasty || e.Draining
		if e.Holds > 0 && (holds == 0 || e.Holds < holds) {
			holds = e.Holds
		}
	}
	return holds, hasty
}
