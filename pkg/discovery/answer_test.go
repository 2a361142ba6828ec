package discovery

import (
	"math"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/steering"
)

// said returns what an answer says of the names of t, by name.
func said(t Target, header http.Header, body string) (map[string]float64, error) {
	l := newLayout(t)
	values := make([]float64, len(l.columns))
	err := l.fill(values, t.Format, header, []byte(body))
	got := make(map[string]float64)
	for name, i := range l.columns {
		if !math.IsNaN(values[i]) {
			got[name] = values[i]
		}
	}
	return got, err
}

func TestFill(t *testing.T) {
	t.Parallel()
	type values = map[string]float64
	named := Names{InFlight: "queue", Latency: "wait_ms", CPU: "busy.cores.now"}
	for _, tt := range []struct {
		name, body, header string
		target             Target
		want               values
		err                string
	}{
		{name: "metrics", target: Target{Format: Prometheus}, body: "http_requests_in_progress{method=\"GET\"} 2\nhttp_requests_in_progress{method=\"PUT\"} 1\nother 7\nprocess_cpu_seconds_total 9\n",
			want: values{"http_requests_in_progress": 3, "process_cpu_seconds_total": 9}},
		{name: "metrics by name", target: Target{Format: Prometheus, Names: Names{InFlight: "other"}}, body: "http_requests_in_progress 2\nother 7\n",
			want: values{"other": 7}},
		{name: "no metrics", target: Target{Format: Prometheus}, body: "<html>\n", want: values{}},
		{name: "a metric that is none", target: Target{Format: Prometheus}, body: "http_requests_in_flight many\n",
			err: `line 1: http_requests_in_flight: "many" is no value`},

		{name: "edgeprobe app", target: Target{Format: JSON},
			body: `{"name":"pod-1","requests_in_flight":3,"max_requests":256,"application_utilization":0.25,"cpu_utilization":0.5,"rps_fractional":10,"eps":0,"latency_mean_ms":7.5,"latency_max_ms":9}`,
			want: values{"requests_in_flight": 3, "application_utilization": 0.25, "cpu_utilization": 0.5, "latency_mean_ms": 7.5}},
		{name: "ORCA as protobuf writes it", target: Target{Format: JSON}, body: `{"cpuUtilization":0.5,"memUtilization":0.1,"rpsFractional":10.5,"namedMetrics":{"requests_in_flight":4}}`,
			want: values{"cpuUtilization": 0.5, "namedMetrics.requests_in_flight": 4}},
		{name: "JSON by name", target: Target{Format: JSON, Names: named}, body: `{"queue":1,"wait_ms":2,"busy":{"cores":{"now":3}},"cpu_utilization":1}`,
			want: values{"queue": 1, "wait_ms": 2, "busy.cores.now": 3}},
		{name: "a dot in a name", target: Target{Format: JSON, Names: named}, body: `{"busy.cores.now":3,"busy":{"cores":{"now":4}}}`, want: values{"busy.cores.now": 3}},
		{name: "a dot in an inner name", target: Target{Format: JSON, Names: named}, body: `{"busy":{"cores.now":3}}`, want: values{"busy.cores.now": 3}},
		{name: "not numbers", target: Target{Format: JSON, Names: named}, body: `{"queue":"NaN","wait_ms":null,"busy":[1]}`, want: values{}},
		{name: "a list", target: Target{Format: JSON}, body: `[1]`, err: "JSON: json: cannot unmarshal array into Go value of type map[string]interface {}"},
		{name: "not JSON", target: Target{Format: JSON}, body: "x", err: "JSON: invalid character 'x' looking for beginning of value"},
		{name: "no JSON", target: Target{Format: JSON}, err: "JSON: unexpected end of JSON input"},
		{name: "too large a number", target: Target{Format: JSON}, body: `{"cpu_utilization":1e999}`,
			err: "JSON: json: cannot unmarshal number 1e999 into Go value of type float64"},

		{name: "ORCA as text", target: Target{Format: ORCA}, header: "TEXT cpu_utilization=0.3, mem_utilization=0.8,named_metrics.requests_in_flight=5,other=x", body: "ok",
			want: values{"cpu_utilization": 0.3, "named_metrics.requests_in_flight": 5}},
		{name: "ORCA as JSON", target: Target{Format: ORCA}, header: `JSON {"cpu_utilization": 0.3, "named_metrics": {"requests_in_flight": 5}}`,
			want: values{"cpu_utilization": 0.3, "named_metrics.requests_in_flight": 5}},
		{name: "ORCA says nothing", target: Target{Format: ORCA}, header: "TEXT ", want: values{}},
		{name: "ORCA without a header", target: Target{Format: ORCA}, err: "no header endpoint-load-metrics"},
		{name: "ORCA in protobuf", target: Target{Format: ORCA}, header: "BIN CZqZmZmZmdk/", err: `header endpoint-load-metrics begins with "BIN": want TEXT or JSON`},
		{name: "ORCA with a mistake", target: Target{Format: ORCA}, header: "TEXT cpu_utilization=lots",
			err: `header endpoint-load-metrics: cpu_utilization: "lots" is no number`},
		{name: "ORCA without a value", target: Target{Format: ORCA}, header: "TEXT cpu_utilization",
			err: `header endpoint-load-metrics: cpu_utilization: "" is no number`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{}
			if tt.header != "" {
				header.Set("endpoint-load-metrics", tt.header)
			}
			got, err := said(tt.target, header, tt.body)
			if diff := cmp.Diff(tt.err, text(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, got); tt.err == "" && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever a pod says: it is read or refused, and what comes of it is a load that a pod can have.
func FuzzFill(f *testing.F) {
	for _, seed := range []struct {
		format byte
		text   string
	}{
		{0, "http_requests_in_flight{x=\"1\"} 2\nhttp_request_duration_seconds_sum 3\nhttp_request_duration_seconds_count 4\nprocess_cpu_seconds_total 5\n"},
		{0, "http_requests_in_flight -Inf\nhttp_requests_in_flight +Inf\nprocess_cpu_usage NaN\n"},
		{1, `{"requests_in_flight":3,"latency_mean_ms":7.5,"namedMetrics":{"requests_in_flight":-4},"cpu_utilization":1e308}`},
		{2, "TEXT cpu_utilization=0.3,named_metrics.requests_in_flight=5,latency_mean_ms=NaN"},
		{2, `JSON {"cpu_utilization": 0.3}`},
	} {
		f.Add(seed.format, seed.text)
	}
	f.Fuzz(func(t *testing.T, format byte, text string) {
		target := Target{Format: Format(format%3) + 1}
		l := newLayout(target)
		values := make([]float64, len(l.columns))
		if err := l.fill(values, target.Format, http.Header{orcaHeader: {text}}, []byte(text)); err != nil {
			return
		}
		first := l.read(values, at(1))
		for _, got := range []steering.Load{first.since(nothing, at(1)), first.since(first, at(2)), nothing.since(first, at(2))} {
			for _, r := range []steering.Reading{got.InFlight, got.Latency, got.CPU} {
				if !(r.Value >= 0) || math.IsInf(r.Value, 1) || !r.Known && r.Value != 0 {
					t.Errorf("%+v", got)
				}
			}
		}
	})
}
