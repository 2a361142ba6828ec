package probe

import "time"

// A Distribution counts durations in 32 kB, however many they are. Its zero value is empty. It is not safe for
// concurrent use.
type Distribution struct{ h histogram }

// Add counts a duration; a negative one counts as 0.
func (d *Distribution) Add(v time.Duration) { d.h.add(int64(v)) }

// Percentiles returns them less than 1 % off, the maximum exactly; all zero when nothing was added.
func (d *Distribution) Percentiles() Percentiles { return d.h.percentiles() }
