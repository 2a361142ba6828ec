package bridge

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The whole course: prepare, bridge, come back, exit. In the end the host looks as before.
func TestBridge(t *testing.T) {
	for _, mode := range []Mode{SRv6, VXLAN} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWorld(t, 1600)
			a := w.hosts["a"]
			before := dump(t, a)
			here, there := startBridge(t, a, w.config("a", mode)), startBridge(t, w.hosts["b"], w.config("b", mode))
			if here.first.Mode != mode.String() {
				t.Errorf("mode %s, want %v", here.first.Mode, mode)
			}
			if len(here.first.Problems) > 0 {
				t.Errorf("problems: %+v", here.first.Problems)
			}
			for _, vip := range []string{vip6, vip4} {
				w.serve(t, "b", vip)
				stop := w.serve(t, "a", vip)
				wantAnswer(t, w.client, vip, "a")
				stop()
				here.set(to(vip, Target{"b", 1}))
				wantAnswer(t, w.client, vip, "b")
				wantAnswer(t, a, vip, "refused") // the host's own check sees the host
				w.serve(t, "a", vip)             // the service comes back and can bind
				wantAnswer(t, a, vip, "a")
				wantAnswer(t, w.client, vip, "b")
				here.set()
				wantAnswer(t, w.client, vip, "a")
				eventually(t, "the peer counts what it received", func() bool { return there.traffic(vip).Received == 2 })
				if got := here.traffic(vip); got.Packets != 2 || got.Bytes == 0 || got.Dropped != 0 || got.Last.IsZero() {
					t.Errorf("%s: %+v, want 2 packets", vip, got)
				}
			}
			here.stop()
			if d := cmp.Diff(before, dump(t, a)); d != "" {
				t.Errorf("after exit (-before +after):\n%s", d)
			}
			wantAnswer(t, w.client, vip6, "a")
		})
	}
}
