package kube

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/steering"
)

func second(n float64) time.Time { return time.Unix(1e9, int64(n*1e9)) }

// A use is what the newest sample says; who only repeats himself says nothing.
func TestUse(t *testing.T) {
	t.Parallel()
	const skew = 1000 // seconds that the clocks of others are ahead
	count := func(total, stamp, now float64) func(*use) {
		return func(u *use) { u.count(total, second(stamp+skew), second(now)) }
	}
	report := func(processors, stamp, now float64) func(*use) {
		return func(u *use) { u.report(processors, second(stamp+skew), second(now), 20*time.Second) }
	}
	load := func(seen, cpu float64, every time.Duration) steering.Load {
		return steering.Load{At: second(seen), Every: every, CPU: steering.Read(cpu)}
	}
	none := steering.Load{}
	for _, tt := range []struct {
		name  string
		steps []func(*use)
		want  []steering.Load
	}{
		{
			"a counter", []func(*use){count(10, 1, 2), count(15, 11, 12), count(15, 11, 13), count(15, 21, 22)},
			[]steering.Load{none, load(12, 0.25, 10*time.Second), load(12, 0.25, 10*time.Second), load(22, 0, 10*time.Second)},
		},
		{
			"a counter that begins anew", []func(*use){count(10, 1, 2), count(1, 11, 12), count(6, 16, 17)},
			[]steering.Load{none, none, load(17, 0.5, 5*time.Second)},
		},
		{
			"a clock that is set back", []func(*use){count(10, 100, 2), count(15, 50, 12), count(20, 60, 22)},
			[]steering.Load{none, none, load(22, 0.25, 10*time.Second)},
		},
		{
			"a long silence", []func(*use){count(0, 0, 0), count(500, 1000, 1000)},
			[]steering.Load{none, load(1000, 0.25, maxEvery)},
		},
		{
			"the metrics API", []func(*use){report(1, 1, 5), report(1, 1, 10), report(2, 16, 20), report(0, 15, 25)},
			[]steering.Load{load(5, 0.5, 20*time.Second), load(5, 0.5, 20*time.Second), load(20, 1, 15*time.Second), load(20, 1, 15*time.Second)},
		},
		{
			"the metrics API beside a kubelet, which ends", []func(*use){count(0, 0, 0), count(10, 10, 10), report(2, 5, 29), report(2, 25, 31)},
			[]steering.Load{none, load(10, 0.5, 10*time.Second), load(10, 0.5, 10*time.Second), load(31, 1, 20*time.Second)},
		},
	} {
		var u use
		var got []steering.Load
		for _, step := range tt.steps {
			step(&u)
			got = append(got, u.load(Pod{Limit: 2}))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
