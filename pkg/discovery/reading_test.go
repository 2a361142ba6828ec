package discovery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anyedge/anyedge/pkg/steering"
)

func at(seconds float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(seconds * 1e9)) }

// nothing is a reading of which nothing is known.
var nothing = newReading()

// A story of one pod: what it says second by second, and what is known of it then.
func TestReadings(t *testing.T) {
	t.Parallel()
	type load = steering.Load
	read := steering.Read
	type step struct {
		page string
		want load
		err  string
	}
	const none = "tells none of the metrics that are looked for"
	for _, tt := range []struct {
		name   string
		target Target
		steps  []step
	}{
		{name: "gauges tell at once", target: Target{Format: Prometheus}, steps: []step{
			{page: "http_requests_in_flight 3\nprocess_cpu_usage 0.5\n", want: load{At: at(1), InFlight: read(3), CPU: read(0.5)}},
			{page: "http_requests_in_flight 0\nprocess_cpu_usage 0\n", want: load{At: at(2), InFlight: read(0), CPU: read(0)}},
		}},
		{name: "counters tell from the second time on", target: Target{Format: Prometheus}, steps: []step{
			{page: "http_request_duration_seconds_sum 10\nhttp_request_duration_seconds_count 100\nprocess_cpu_seconds_total 5\n"},
			{page: "http_request_duration_seconds_sum 11\nhttp_request_duration_seconds_count 104\nprocess_cpu_seconds_total 5.5\n",
				want: load{At: at(2), Latency: read(0.25), CPU: read(0.5)}},
			{page: "http_request_duration_seconds_sum 12\nhttp_request_duration_seconds_count 105\nprocess_cpu_seconds_total 5.5\n",
				want: load{At: at(3), Latency: read(1), CPU: read(0)}},
		}},
		{name: "a pod without requests does not tell its latency: the last one grows old", target: Target{Format: Prometheus}, steps: []step{
			{page: "http_request_duration_seconds_sum 10\nhttp_request_duration_seconds_count 100\nprocess_cpu_usage 0.1\n", want: load{At: at(1), CPU: read(0.1)}},
			{page: "http_request_duration_seconds_sum 10\nhttp_request_duration_seconds_count 100\nprocess_cpu_usage 0.2\n", want: load{At: at(2), CPU: read(0.2)}},
			{page: "http_request_duration_seconds_sum 11\nhttp_request_duration_seconds_count 102\nprocess_cpu_usage 0.3\n", want: load{At: at(3), Latency: read(0.5), CPU: read(0.3)}},
			{page: "http_request_duration_seconds_sum 11\nhttp_request_duration_seconds_count 102\nprocess_cpu_usage 0.4\n", want: load{At: at(3), Latency: read(0.5), CPU: read(0.3)}},
		}},
		{name: "with requests in flight it is fresh", target: Target{Format: Prometheus}, steps: []step{
			{page: "http_requests_in_flight 1\nhttp_request_duration_seconds_sum 10\nhttp_request_duration_seconds_count 100\n", want: load{At: at(1), InFlight: read(1)}},
			{page: "http_requests_in_flight 2\nhttp_request_duration_seconds_sum 12\nhttp_request_duration_seconds_count 104\n", want: load{At: at(2), InFlight: read(2), Latency: read(0.5)}},
			{page: "http_requests_in_flight 4\nhttp_request_duration_seconds_sum 12\nhttp_request_duration_seconds_count 104\n", want: load{At: at(3), InFlight: read(4)}},
		}},
		{name: "a restart", target: Target{Format: Prometheus}, steps: []step{
			{page: "http_request_duration_seconds_sum 10\nhttp_request_duration_seconds_count 100\nprocess_cpu_seconds_total 50\n"},
			{page: "http_request_duration_seconds_sum 1\nhttp_request_duration_seconds_count 10\nprocess_cpu_seconds_total 1\n"},
			{page: "http_request_duration_seconds_sum 3\nhttp_request_duration_seconds_count 11\nprocess_cpu_seconds_total 2\n", want: load{At: at(3), Latency: read(2), CPU: read(1)}},
		}},
		{name: "another name has other counts", target: Target{Format: Prometheus}, steps: []step{
			{page: "http_request_duration_seconds_sum 10\nhttp_request_duration_seconds_count 100\n"},
			{page: "http_server_request_duration_seconds_sum 20\nhttp_server_request_duration_seconds_count 200\nhttp_request_duration_seconds_sum 20\nhttp_request_duration_seconds_count 110\n"},
		}},
		{name: "names of one's own", target: Target{Format: Prometheus, Names: Names{InFlight: "busy", Latency: "took_ms", CPU: "cpu_total"}}, steps: []step{
			{page: "busy 1\nbusy{x=\"2\"} 2\ntook_ms 70\ncpu_total 1\nhttp_requests_in_flight 9\n", want: load{At: at(1), InFlight: read(3), Latency: read(0.07)}},
			{page: "busy 0\ntook_ms_sum 100\ntook_ms_count 1\ncpu_total 3\n", want: load{At: at(2), InFlight: read(0), CPU: read(2)}},
			{page: "took_ms_sum 400\ntook_ms_count 4\ncpu_total 3\n", want: load{At: at(3), Latency: read(0.1), CPU: read(0)}},
		}},
		{name: "what cannot be", target: Target{Format: Prometheus}, steps: []step{
			{page: "http_requests_in_flight -1\nprocess_cpu_usage NaN\n", err: none},
			{page: "http_requests_in_flight +Inf\nprocess_cpu_usage 1\n", want: load{At: at(2), CPU: read(1)}},
		}},
		{name: "nothing", target: Target{Format: Prometheus}, steps: []step{{page: "up 1\n", err: none}, {page: "", err: none}}},
		{name: "ORCA: an application knows best", target: Target{Format: JSON}, steps: []step{
			{page: `{"cpu_utilization":0.5}`, want: load{At: at(1), CPU: read(0.5)}},
			{page: `{"cpu_utilization":0.5,"application_utilization":0.7,"rps_fractional":10}`, want: load{At: at(2), CPU: read(0.7)}},
			{page: `{"requests_in_flight":3,"latency_mean_ms":20}`, want: load{At: at(3), InFlight: read(3), Latency: read(0.02)}},
			{page: `{"rps_fractional":10}`, want: load{At: at(3), InFlight: read(3), Latency: read(0.02)}, err: none},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pod := NewScraper(nil).add(tt.target, make(map[layoutKey]*layout))
			pod.values = make([]float64, len(pod.layout.columns))
			for i, step := range tt.steps {
				now := at(float64(i + 1))
				if err := pod.layout.fill(pod.values, tt.target.Format, nil, []byte(step.page)); err != nil {
					t.Fatal(err)
				}
				err := pod.take(pod.layout.read(pod.values, now), now)
				if diff := cmp.Diff(step.want, pod.load(), cmpopts.EquateApprox(1e-9, 0)); diff != "" || text(err) != step.err {
					t.Errorf("second %d: error %q, want %q (-want +got):\n%s", i+1, text(err), step.err, diff)
				}
			}
		})
	}
}
