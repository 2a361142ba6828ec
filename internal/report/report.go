// Package report writes measurements as self-contained HTML pages: pictures as SVG beside the tables of their figures, no
// script, nothing loaded from anywhere, readable in light, in dark and on paper.
package report

import (
	"embed"
	"html/template"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// A Page is one report.
type Page struct {
	Title    string
	Lead     string   // one sentence below the title
	Figures  []Figure // the headline
	Sections []Section
}

// A Figure is one number of the headline.
type Figure struct {
	Name, Value, Note string
}

// A Section is a picture or two and the tables beside them.
type Section struct {
	Title, Text string
	Notes       []string // what to keep in mind
	Pictures    []Picture
	Tables      []Table
}

// A Table has a row of heads and rows of as many cells.
type Table struct {
	Caption string
	Head    []string
	Rows    [][]string
	Words   int  // columns from the left that hold words; the others hold numbers
	Folded  bool // shown only when asked for: long ones
}

// A Picture is an SVG with the text for those who do not see it.
type Picture struct {
	Title  string
	Desc   string // what the picture shows, in a sentence
	Legend []Key
	Half   bool // may stand beside another one
	svg    string
}

// A Key of a legend tells what a colour stands for.
type Key struct {
	Name  string
	Color Color
}

// Style returns the CSS of the key's swatch.
func (k Key) Style() template.CSS { return template.CSS("background:" + k.Color.css()) }

// Markup returns the SVG with its title and description.
func (p Picture) Markup() template.HTML {
	return template.HTML(`<svg xmlns="http://www.w3.org/2000/svg" role="img" ` + p.svg[:strings.IndexByte(p.svg, '>')+1] +
		"<title>" + Escape(p.Title) + "</title><desc>" + Escape(p.Desc) + "</desc>" +
		p.svg[strings.IndexByte(p.svg, '>')+1:] + "</svg>")
}

// Drawn returns a picture made of SVG elements with their own coordinates: text in them must have gone through Escape.
func Drawn(title, desc string, width, height float64, elements string) Picture {
	size := strconv.FormatFloat(width, 'f', 0, 64) + " " + strconv.FormatFloat(height, 'f', 0, 64)
	return Picture{Title: title, Desc: desc, svg: `viewBox="0 0 ` + size + `">` + elements}
}

//go:embed page.html
var files embed.FS

// Write writes the page.
func (p Page) Write(w io.Writer) error {
	t, err := template.New("page.html").Funcs(template.FuncMap{"clean": clean}).ParseFS(files, "page.html")
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// Escape makes any text fit for SVG.
func Escape(text string) string { return template.HTMLEscapeString(clean(text)) }

// clean replaces what neither XML nor a reader can take: names come from the network and from files.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\ufffe' || r == '\uffff' {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}
