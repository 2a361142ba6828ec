package client

import (
	"context"
	"sync"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

const (
	// maxInFlight bounds the requests under way; what comes due beyond is failed at once, as overload.
	maxInFlight = 50_000
	// maxLateness is how late a request may be started. What is due longer is not made and counted as skipped: a stalled
	// simulator shall not pass off a burst as a schedule that it kept.
	maxLateness = 250 * time.Millisecond
	// statusEvery is between two calls of OnStatus.
	statusEvery = 200 * time.Millisecond
)

// A request is one that came due.
type request struct {
	due    time.Time
	client int
}

// A loop makes requests when they are due, each in a goroutine of its own.
type loop struct {
	load Load
	make func(ctx context.Context, r request) // ctx ends when the request's time is over
	shed func(r request)                      // instead, when too many are under way

	// Of the goroutine that runs the schedule, until run returns.
	scheduled, skipped int
	late               probe.Distribution // how long after they were due requests were started
}

// run returns when the duration is over (or ctx is done) and no request is under way any more; those under way have
// their time.
func (l *loop) run(ctx context.Context, start time.Time, wait waiter) {
	var under sync.WaitGroup
	slots := make(chan struct{}, maxInFlight)
	schedule := newArrivals(l.load)
	for {
		after, client := schedule.next()
		if l.load.Duration > 0 && after >= l.load.Duration {
			break
		}
		r := request{due: start.Add(after), client: client}
		if !wait(ctx, r.due) {
			break
		}
		l.scheduled++
		late := time.Since(r.due)
		if late > maxLateness {
			l.skipped++
			continue
		}
		l.late.Add(late)
		select {
		case slots <- struct{}{}:
			under.Go(func() {
				defer func() { <-slots }()
				l.one(ctx, r)
			})
		default:
			l.shed(r)
		}
	}
	under.Wait()
}

func (l *loop) one(ctx context.Context, r request) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), r.due.Add(l.load.Timeout))
	defer cancel()
	l.make(ctx, r)
}

// tell calls OnStatus now and then until stop is closed.
func (l Load) tell(stop <-chan struct{}, status func() Status) {
	if l.OnStatus == nil {
		return
	}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			l.OnStatus(status())
		}
	}
}
