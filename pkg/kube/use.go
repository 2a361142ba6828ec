package kube

import (
	"net/netip"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

// maxEvery bounds how seldom samples of a pod's use seem to come: a source that was away for long must not make the last one
// count for as long.
const maxEvery = 30 * time.Second

// freshPeriods is for how many periods the last sample is good enough that nobody asks why there is no newer one.
const freshPeriods = 2

// A use is what is known of the processor time that a pod uses.
type use struct {
	host netip.Addr // of its node

	// As its kubelet told last.
	listed time.Time // when it told of the pod, new or not, by our clock; zero: never
	total  float64   // seconds of processor time
	stamp  time.Time // of total, by the kubelet's clock; zero: never

	reported time.Time // of the last sample of the metrics API, by its clock; zero: never

	// The latest sample.
	processors float64
	counted    bool      // by the kubelet's counter
	seen       time.Time // when it came, by our clock: others may be wrong; zero: never
	every      time.Duration
}

// count takes the counter of a kubelet. It measures when it likes and not when it is asked, so the time that it gives tells whether
// there is anything new.
func (u *use) count(total float64, stamp, now time.Time) {
	u.listed = now
	before, gap := *u, stamp.Sub(u.stamp)
	if stamp.Equal(before.stamp) {
		return
	}
	u.total, u.stamp = total, stamp
	if !before.stamp.IsZero() && gap > 0 && total >= before.total { // else the pod, or the clock, begins anew
		u.take((total-before.total)/gap.Seconds(), true, gap, now)
	}
}

// report takes a sample of the metrics API, unless there is something better.
func (u *use) report(processors float64, stamp, now time.Time, window time.Duration) {
	gap := window
	if !u.reported.IsZero() {
		gap = stamp.Sub(u.reported)
	}
	u.reported = stamp
	if gap > 0 && !(u.counted && u.fresh(now)) {
		u.take(processors, false, gap, now)
	}
}

func (u *use) take(processors float64, counted bool, every time.Duration, now time.Time) {
	u.processors, u.counted, u.every, u.seen = processors, counted, min(every, maxEvery), now
}

func (u *use) fresh(now time.Time) bool {
	return !u.seen.IsZero() && now.Sub(u.seen) <= freshPeriods*u.every
}

// load is what the use says of the load of its pod.
func (u *use) load(p Pod) steering.Load {
	if u.seen.IsZero() {
		return steering.Load{}
	}
	return steering.Load{At: u.seen, Every: u.every, CPU: steering.Read(p.part(u.processors))}
}
