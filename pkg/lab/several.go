package lab

import (
	"context"
	"errors"
	"syscall"
	"time"
)

const (
	// quick is how long a service is away that restarts at once.
	quick = 300 * time.Millisecond
	// flapEvery is how long a flapping service is away, and how long it is there.
	flapEvery = 300 * time.Millisecond
	// flapFor is how long it flaps.
	flapFor = time.Minute
	// sickFor is how long no site has a service.
	sickFor = 5 * time.Second
)

// restart is a service that comes back before anybody has to know.
func restart() Fault {
	f := program("restart", "the service restarts and is away for 300 ms", "service", syscall.SIGKILL, false)
	f.lasts = quick
	return f
}

// targetDies breaks the site that took over, too, while the first one is still bridged to it.
func targetDies() Fault {
	f := program("target-dies", "the service crashes, then the one that took over", "service", syscall.SIGKILL, false)
	f.next = f.inject
	return f
}

// allSick takes the service from every site at once.
func allSick() Fault {
	return Fault{
		Name: "all-sick", Help: "the service of every site crashes, and is back after 5 s", lasts: sickFor,
		inject: everywhere(func(l *Lab, v victim) error { return v.signal(l, "service", syscall.SIGKILL) }),
		heal:   everywhere(func(l *Lab, v victim) error { return v.start(l, "service") }),
	}
}

func everywhere(do func(*Lab, victim) error) func(context.Context, *Lab, victim) error {
	return func(_ context.Context, l *Lab, v victim) error {
		var errs []error
		for _, site := range v.parts.sites {
			v.site = site
			errs = append(errs, do(l, v))
		}
		return errors.Join(errs...)
	}
}

// flap lets the service die and return again and again.
func flap() Fault {
	return Fault{
		Name: "flap", Help: "the service dies and returns every 300 ms for a minute", lasts: time.Nanosecond,
		inject: func(ctx context.Context, l *Lab, v victim) error {
			for end := time.Now().Add(flapFor); time.Now().Before(end); {
				if err := v.signal(l, "service", syscall.SIGKILL); err != nil {
					return err
				}
				if err := sleep(ctx, flapEvery); err != nil {
					return err
				}
				if err := v.start(l, "service"); err != nil {
					return err
				}
				if err := sleep(ctx, flapEvery); err != nil {
					return err
				}
			}
			return nil
		},
		heal: func(context.Context, *Lab, victim) error { return nil },
	}
}
