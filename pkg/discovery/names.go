package discovery

import "strings"

// The names that are well known, the most telling first. A pod that exports several is judged by the first.
var (
	inFlightMetrics = []string{
		"anyedge_app_requests_in_flight", // edgeprobe app
		"http_server_active_requests",    // OpenTelemetry: http.server.active_requests
		"http_requests_in_flight",
		"http_requests_in_progress", // prometheus-net
		"http_requests_inprogress",  // prometheus-fastapi-instrumentator
		"vllm:num_requests_running", // vLLM
	}
	latencyMetrics = []string{
		"anyedge_app_request_duration_seconds",
		"http_server_request_duration_seconds", // OpenTelemetry: http.server.request.duration
		"http_server_requests_seconds",         // Micrometer
		"http_request_duration_seconds",
		"grpc_server_handling_seconds", // go-grpc-prometheus
	}
	cpuMetrics = []string{
		"anyedge_app_cpu_utilization_ratio",
		"process_cpu_usage",         // Micrometer
		"process_cpu_seconds_total", // every Prometheus client library
	}
)

// Of ORCA (xds.data.orca.v3.OrcaLoadReport) as protobuf's JSON has it both ways, and of edgeprobe app. Where an
// application has an opinion of its utilization, it knows better than its CPU (gRFC A58).
var (
	inFlightFields = []string{"requests_in_flight", "named_metrics.requests_in_flight", "namedMetrics.requests_in_flight"}
	latencyFields  = []string{"latency_mean_ms", "named_metrics.latency_mean_ms", "namedMetrics.latency_mean_ms", "named_metrics.latency_seconds", "namedMetrics.latency_seconds"}
	cpuFields      = []string{"application_utilization", "applicationUtilization", "cpu_utilization", "cpuUtilization"}
)

// candidates are what a target may call each signal.
type candidates struct{ inFlight, latency, cpu []string }

func (t Target) candidates() candidates {
	all := candidates{inFlightFields, latencyFields, cpuFields}
	if t.Format == Prometheus {
		all = candidates{inFlightMetrics, latencyMetrics, cpuMetrics}
	}
	only(&all.inFlight, t.Names.InFlight)
	only(&all.latency, t.Names.Latency)
	only(&all.cpu, t.Names.CPU)
	return all
}

func only(names *[]string, name string) {
	if name != "" {
		*names = []string{name}
	}
}

// seconds is what one unit of a latency of that name is: names tell units, as Prometheus' and OpenTelemetry's rules want.
func seconds(name string) float64 {
	if strings.HasSuffix(name, "_ms") || strings.HasSuffix(name, "_milliseconds") {
		return 1e-3
	}
	return 1
}
