package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// orcaHeader carries an ORCA load report in an answer to any request.
const orcaHeader = "Endpoint-Load-Metrics"

// fill sets the columns of l to what an answer says in a format, those that it does not tell to NaN.
func (l *layout) fill(values []float64, f Format, header http.Header, body []byte) error {
	for i := range values {
		values[i] = math.NaN()
	}
	switch f {
	case Prometheus:
		return l.fillMetrics(values, body)
	case JSON:
		return l.fillJSON(values, body)
	case ORCA:
		return l.fillORCA(values, header.Get(orcaHeader))
	default:
		return fmt.Errorf("format %s", f)
	}
}

// fillMetrics adds up what has the same name: a pod's load is that of all its handlers.
func (l *layout) fillMetrics(values []float64, page []byte) error {
	return scanMetrics(page, func(name []byte) bool {
		_, wanted := l.columns[string(name)]
		return wanted
	}, func(name []byte, value float64) {
		i := l.columns[string(name)]
		if math.IsNaN(values[i]) {
			values[i] = 0
		}
		values[i] += value
	})
}

func (l *layout) fillJSON(values []float64, body []byte) error {
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		return fmt.Errorf("JSON: %w", err)
	}
	for name, i := range l.columns {
		values[i] = number(object, name)
	}
	return nil
}

// number returns the number called name in a JSON object: a dot may be part of a name, or lead into an object below.
func number(object map[string]any, name string) float64 {
	if v, ok := object[name]; ok {
		if n, ok := v.(float64); ok {
			return n
		}
		return math.NaN()
	}
	outer, inner, nested := strings.Cut(name, ".")
	if below, ok := object[outer].(map[string]any); nested && ok {
		return number(below, inner)
	}
	return math.NaN()
}

// fillORCA reads the native HTTP forms of a report: TEXT cpu_utilization=0.3,named_metrics.x=2 and JSON {...}.
func (l *layout) fillORCA(values []float64, report string) error {
	form, text, _ := strings.Cut(report, " ")
	switch form {
	case "JSON":
		return l.fillJSON(values, []byte(text))
	case "TEXT":
		return l.fillText(values, text)
	case "":
		return errors.New("no header endpoint-load-metrics")
	default:
		return fmt.Errorf("header endpoint-load-metrics begins with %.20q: want TEXT or JSON", form)
	}
}

func (l *layout) fillText(values []float64, text string) error {
	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		i, wanted := l.columns[name]
		if !wanted {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("header endpoint-load-metrics: %s: %.40q is no number", name, value)
		}
		values[i] = n
	}
	return nil
}
