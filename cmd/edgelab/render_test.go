package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	labsOfRepo  = "../../labs/containerlab"
	gns3OfRepo  = "../../topology/gns3"
	commandGNS3 = "edgelab render gns3 "
)

// What is committed is what the topology renders to: to the byte, and no file more.
func TestGNS3IsCommitted(t *testing.T) {
	for _, name := range renderedLabs(t) {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), name)
			if _, err := renderGNS3(labsOfRepo, name, out); err != nil {
				t.Fatal(err)
			}
			want, got := contents(t, out), contents(t, filepath.Join(gns3OfRepo, name))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("run `%s%s` (-rendered +committed)\n%s", commandGNS3, name, diff)
			}
			if _, err := renderGNS3(labsOfRepo, name, out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, contents(t, out)); diff != "" {
				t.Errorf("rendered again (-first +second)\n%s", diff)
			}
		})
	}
}

func renderedLabs(t *testing.T) []string {
	t.Helper()
	projects, err := filepath.Glob(filepath.Join(gns3OfRepo, "*", "*.gns3"))
	if err != nil || len(projects) == 0 {
		t.Fatalf("no projects in %s: %v", gns3OfRepo, err)
	}
	var names []string
	for _, p := range projects {
		names = append(names, filepath.Base(filepath.Dir(p)))
	}
	return names
}

// contents returns every file below dir.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// GNS3 2.2 opens the project: its schema and what the schema leaves open.
func TestGNS3IsValid(t *testing.T) {
	for _, name := range renderedLabs(t) {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(gns3OfRepo, name, name+".gns3"))
			if err != nil {
				t.Fatal(err)
			}
			var project map[string]any
			if err := json.Unmarshal(text, &project); err != nil {
				t.Fatal(err)
			}
			for _, fault := range checkGNS3(project) {
				t.Error(fault)
			}
		})
	}
}

// The checker sees what it is to see.
func TestGNS3CheckerSees(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(gns3OfRepo, "quickstart", "quickstart.gns3"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ old, new, want string }{
		{`"revision": 9`, `"revision": 10`, "revision"},
		{`"type": "topology"`, `"kind": "topology"`, "kind"},
		{`"node_type": "docker"`, `"node_type": "dockr"`, "node_type"},
		{`"adapter_number": 3`, `"adapter_number": 4`, "adapters"},
		{`"suspend": false`, `"suspended": false`, "suspended"},
		{`"delay": [`, `"latency": [`, "filter"},
		{`"project_id": "0`, `"project_id": "g`, "project_id"},
		{`"node_id": "`, `"node_id": "0`, "node_id"},
		{`"compute_id": "local"`, `"compute_id": "remote"`, "compute_id"},
		{`/etc/anyedge"`, `/etc/../anyedge"`, "volume"},
	} {
		t.Run(tc.new, func(t *testing.T) {
			broken := strings.Replace(string(text), tc.old, tc.new, 1)
			var project map[string]any
			if err := json.Unmarshal([]byte(broken), &project); err != nil {
				t.Fatal(err)
			}
			faults := strings.Join(checkGNS3(project), "\n")
			if broken == string(text) || !strings.Contains(faults, tc.want) {
				t.Errorf("changed: %v, faults: %q, want %q", broken != string(text), faults, tc.want)
			}
		})
	}
}

var (
	uuid = regexp.MustCompile(`^[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12}$`)

	gns3ProjectKeys = []string{"project_id", "type", "auto_start", "auto_close", "auto_open", "revision", "version", "name",
		"scene_height", "scene_width", "zoom", "show_layers", "snap_to_grid", "show_grid", "grid_size", "drawing_grid_size",
		"show_interface_labels", "supplier", "variables", "topology"}
	gns3NodeKeys = []string{"compute_id", "project_id", "node_id", "template_id", "node_type", "node_directory",
		"command_line", "name", "console", "console_host", "console_type", "console_auto_start", "properties", "status",
		"label", "symbol", "width", "height", "x", "y", "z", "locked", "port_name_format", "port_segment_size",
		"first_port_name", "custom_adapters", "ports"}
	gns3PropertyKeys = []string{"adapters", "container_id", "aux", "environment", "extra_hosts", "extra_volumes", "image",
		"start_command", "usage", "console_http_path", "console_http_port", "console_resolution", "mac_address"}
	gns3LinkKeys = []string{"link_id", "project_id", "nodes", "suspend", "filters", "link_type", "capturing"}
	gns3EndKeys  = []string{"node_id", "adapter_number", "port_number", "label"}
)

// faults collects what is wrong with a project.
type faults []string

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func (f *faults) keys(where string, o map[string]any, allowed, required []string) {
	for k := range o {
		if !slices.Contains(allowed, k) {
			f.add("%s: key %s is not one of GNS3's", where, k)
		}
	}
	for _, k := range required {
		if _, ok := o[k]; !ok {
			f.add("%s: %s is missing", where, k)
		}
	}
}

func (f *faults) uuid(where string, o map[string]any, key string, seen map[string]bool) string {
	id, _ := o[key].(string)
	if !uuid.MatchString(id) || seen[id] {
		f.add("%s: %s %q is no uuid, or not the only one", where, key, id)
	}
	seen[id] = true
	return id
}

func checkGNS3(project map[string]any) []string {
	var f faults
	seen := make(map[string]bool)
	f.keys("project", project, gns3ProjectKeys, []string{"project_id", "type", "revision", "version", "name", "topology"})
	f.uuid("project", project, "project_id", seen)
	if project["type"] != "topology" || project["revision"] != 9.0 {
		f.add("type %v, revision %v", project["type"], project["revision"])
	}
	topology, _ := project["topology"].(map[string]any)
	parts := []string{"nodes", "links", "drawings", "computes"}
	f.keys("topology", topology, parts, parts)
	adapters := make(map[string]float64)
	for _, n := range objects(topology["nodes"]) {
		adapters[f.uuid("node", n, "node_id", seen)] = f.node(n)
	}
	used := make(map[string]bool)
	for _, l := range objects(topology["links"]) {
		f.uuid("link", l, "link_id", seen)
		f.link(l, adapters, used)
	}
	return f
}

// node returns the number of its adapters.
func (f *faults) node(n map[string]any) float64 {
	where := fmt.Sprintf("node %v", n["name"])
	f.keys(where, n, gns3NodeKeys, []string{"name", "node_type", "compute_id", "node_id", "properties", "x", "y", "z", "label", "symbol"})
	if n["node_type"] != "docker" || n["compute_id"] != "local" || n["console_type"] != "telnet" {
		f.add("%s: node_type %v, compute_id %v, console_type %v", where, n["node_type"], n["compute_id"], n["console_type"])
	}
	p, _ := n["properties"].(map[string]any)
	f.keys(where, p, gns3PropertyKeys, []string{"adapters", "image", "start_command", "extra_volumes"})
	for _, v := range asList(p["extra_volumes"]) {
		if text, _ := v.(string); !strings.HasPrefix(text, "/") || strings.Contains(text, "..") {
			f.add("%s: volume %q", where, text)
		}
	}
	adapters, _ := p["adapters"].(float64)
	if adapters < 1 || adapters > 99 {
		f.add("%s: adapters %v", where, p["adapters"])
	}
	return adapters
}

func (f *faults) link(l map[string]any, adapters map[string]float64, used map[string]bool) {
	where := fmt.Sprintf("link %v", l["link_id"])
	f.keys(where, l, gns3LinkKeys, []string{"nodes"})
	ends := objects(l["nodes"])
	if len(ends) != 2 {
		f.add("%s: %d ends", where, len(ends))
	}
	for _, e := range ends {
		f.keys(where, e, gns3EndKeys, gns3EndKeys[:3])
		id, _ := e["node_id"].(string)
		count, known := adapters[id]
		number, _ := e["adapter_number"].(float64)
		if !known || number >= count {
			f.add("%s: node_id %s has adapters up to %v, not %v", where, id, count-1, number)
		}
		port := fmt.Sprint(id, number)
		if used[port] || e["port_number"] != 0.0 {
			f.add("%s: adapter %v of %s is taken, or its port %v is not 0", where, number, id, e["port_number"])
		}
		used[port] = true
	}
	filters, _ := l["filters"].(map[string]any)
	for name, values := range filters {
		if v := asList(values); !(name == "delay" && len(v) == 2 && whole(v[0], 1, 32767) && whole(v[1], 0, 32767) ||
			name == "packet_loss" && len(v) == 1 && whole(v[0], 1, 100)) {
			f.add("%s: filter %s %v", where, name, values)
		}
	}
}

func objects(v any) []map[string]any {
	var all []map[string]any
	for _, e := range asList(v) {
		o, _ := e.(map[string]any)
		all = append(all, o)
	}
	return all
}

func asList(v any) []any { l, _ := v.([]any); return l }

func whole(v any, low, high float64) bool {
	n, ok := v.(float64)
	return ok && n == float64(int(n)) && n >= low && n <= high
}

func TestRenderRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := renderGNS3(labsOfRepo, "quickstart", dir); err == nil || !strings.Contains(err.Error(), "--out") {
		t.Errorf("a directory of the user's: err = %v", err)
	}
	if got := contents(t, dir); len(got) != 1 {
		t.Errorf("it was written to: %v", got)
	}
	if _, err := renderGNS3(labsOfRepo, "nowhere", t.TempDir()); err == nil || !strings.Contains(err.Error(), "edgelab list") {
		t.Errorf("no such lab: err = %v", err)
	}
}
