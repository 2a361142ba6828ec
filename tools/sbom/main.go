// Command sbom writes the bill of materials of Go programs (CycloneDX 1.6, JSON): the modules that the linker noted in each of
// them, and the standard library. It looks at nothing else, so the same program has the same bill wherever it is made.
package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom DIR PROGRAM...: writes DIR/PROGRAM.cdx.json")
		os.Exit(2)
	}
	for _, program := range os.Args[2:] {
		if err := write(os.Args[1], program); err != nil {
			fmt.Fprintln(os.Stderr, "sbom:", err)
			os.Exit(1)
		}
	}
}

func write(dir, program string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	name := filepath.Base(program)
	f, err := os.Create(filepath.Join(dir, name+".cdx.json"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bill(name, info), cdx.SpecVersion1_6); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	return f.Close()
}

// bill lists what a program is made of. It has neither a time nor a number of its own.
func bill(name string, info *buildinfo.BuildInfo) *cdx.BOM {
	all := []cdx.Component{library(&debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")})}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, library(m))
	}
	refs := make([]string, len(all))
	for i, c := range all {
		refs[i] = c.BOMRef
	}
	program := library(&info.Main)
	program.Type, program.Name = cdx.ComponentTypeApplication, name
	b := cdx.NewBOM()
	b.Metadata = &cdx.Metadata{Component: &program}
	b.Components, b.Dependencies = &all, &[]cdx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}
	return b
}

// library is a module by its package URL (purl type golang).
func library(m *debug.Module) cdx.Component {
	purl := "pkg:golang/" + m.Path + "@" + m.Version
	return cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl}
}
