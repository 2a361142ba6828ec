package kube

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
)

// exact compares addresses as they are.
var exact = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func onHost(address string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.HostIP = address }
}

// Who knows the load of endpoints: they themselves, and the pods behind them, whose use is told against what all of them have.
func TestBehind(t *testing.T) {
	t.Parallel()
	host := netip.MustParseAddr("2001:db8::a")
	three := aSlice("api-1", "10.0.0.1 p1", "10.0.0.2 p2", "10.0.0.4")
	two := aSlice("api-1", "10.0.0.1 p1", "10.0.0.2 p2")
	p1, p2 := with(aPod("p1", "2", "1"), onHost("2001:db8::a")), aPod("p2", "500m", "100m")
	small := with(aPod("p2", "", "100m"), onHost("10.1.0.1"))
	for _, tt := range []struct {
		name  string
		notes []string
		pods  []any
		asked Asked
		want  []Pod
	}{
		{name: "round robin", notes: []string{"load=json"}, pods: []any{two, p1, p2}},
		{
			name: "limits of all", notes: []string{"policy=capacity"}, pods: []any{two, p1, p2},
			want: []Pod{{"shop", "p1", host, 2, 0}, {"shop", "p2", netip.Addr{}, 0.5, 0}},
		},
		{
			name: "requests of all", notes: []string{"policy=capacity"}, pods: []any{two, p1, small},
			want: []Pod{{"shop", "p1", host, 0, 1}, {"shop", "p2", netip.MustParseAddr("10.1.0.1"), 0, 0.1}},
		},
		{
			name: "an endpoint without a pod", notes: []string{"policy=closest"}, pods: []any{three, p1, p2},
			want: []Pod{{"shop", "p1", host, 0, 1}, {"shop", "p2", netip.Addr{}, 0, 1}, {}},
		},
		{
			name: "asked themselves", notes: []string{"policy=hash", "load=prometheus", "load-port=9090"}, pods: []any{two},
			asked: Asked{Format: "prometheus", Port: 9090}, want: []Pod{{}, {}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(rules{class: "anyedge", accept: Rules{Name: ours}, loads: true})
			for _, o := range objects(t, append(tt.pods, aService(append(tt.notes, "hostname=a.edge.example")...))...) {
				w.put(o)
			}
			u := w.update()
			asked, pods := w.behind(u.Set[0])
			if diff := cmp.Diff(tt.want, pods, exact, cmpopts.EquateEmpty()); diff != "" || asked != tt.asked {
				t.Errorf("asked %v, want %v; pods (-want +got):\n%s", asked, tt.asked, diff)
			}
		})
	}
}

// A pod that is known better now is told of, although no answer changes.
func TestBehindChanges(t *testing.T) {
	t.Parallel()
	for _, loads := range []bool{false, true} {
		w := newWorld(rules{class: "anyedge", accept: Rules{Name: ours}, loads: loads})
		for _, o := range objects(t, aService("hostname=a.edge.example", "policy=capacity"), aSlice("api-1", "10.0.0.1 p1"), aPod("p1", "", "")) {
			w.put(o)
		}
		w.update()
		for _, o := range objects(t, with(aPod("p1", "", ""), onHost("2001:db8::a"))) {
			w.put(o)
		}
		if told := len(w.update().Set) == 1; told != loads {
			t.Errorf("loads wanted: %v, told: %v", loads, told)
		}
	}
}

func TestPart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pod  Pod
		used float64
		want float64
	}{
		{Pod{Limit: 2}, 1, 0.5}, {Pod{Limit: 0.5}, 1, 2}, {Pod{Request: 1}, 1, 0.5}, {Pod{Request: 0.5}, 1.5, 0.75}, {Pod{Request: 1}, 0, 0},
	} {
		if got := tt.pod.part(tt.used); got != tt.want {
			t.Errorf("%v of %v is %v, want %v", tt.used, tt.pod, got, tt.want)
		}
	}
}
