package peers

import "time"

// A bucket bounds how often something may happen (a token bucket). The zero value is full.
type bucket struct {
	tokens float64
	at     time.Time
}

// take returns whether it may happen once more: rate times per second, and as many at once.
func (b *bucket) take(now time.Time, rate float64) bool {
	if b.at.IsZero() {
		b.tokens = rate
	} else {
		b.tokens = min(rate, b.tokens+rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
