// Command manifests prints what is in deploy/kubernetes as a cluster gets it, for its tests: a kustomization as kubectl
// builds it, and a chart as helm renders it. It is a module of its own, so that the product depends on neither.
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const usage = "usage: manifests kustomize DIR | manifests helm CHART NAMESPACE VALUES-FILE"

func main() {
	text, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

func run(args []string) (string, error) {
	switch {
	case len(args) == 2 && args[0] == "kustomize":
		return kustomize(args[1])
	case len(args) == 4 && args[0] == "helm":
		return helm(args[1], args[2], args[3])
	default:
		return "", errors.New(usage)
	}
}

func kustomize(dir string) (string, error) {
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return "", err
	}
	text, err := objects.AsYaml()
	return string(text), err
}

// helm renders the templates as for a first installation. The values are checked against the chart's schema.
func helm(dir, namespace, valuesFile string) (string, error) {
	chart, err := loader.Load(dir)
	if err != nil {
		return "", err
	}
	values, err := common.ReadValuesFile(valuesFile)
	if err != nil {
		return "", err
	}
	release := common.ReleaseOptions{Name: "anyedge", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(chart, values, release, common.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(name) == ".yaml" {
			fmt.Fprintf(&b, "---\n%s\n", files[name])
		}
	}
	return b.String(), nil
}
