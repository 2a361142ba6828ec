package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// text reads a scalar of any type as it is written; ok is false when it is absent or was reported.
func (it item) text(what string) (text string, ok bool) {
	switch {
	case !it.present():
	case it.node.Kind != yaml.ScalarNode:
		it.bad("must be %s", what)
	case it.node.Tag == "!!null":
		it.bad("has no value: write %s", what)
	default:
		return it.node.Value, true
	}
	return "", false
}

// scalar returns the item as it is written when it is a scalar, and reports nothing.
func (it item) scalar() (text string, ok bool) {
	if !it.present() || it.node.Kind != yaml.ScalarNode {
		return "", false
	}
	return it.node.Value, true
}

// str reads a string that is not empty.
func (it item) str(what string) string {
	text, ok := it.text(what)
	switch {
	case !ok:
	case it.node.Tag != "!!str":
		it.bad("must be %s: put %s in quotes", what, text)
	case text == "":
		it.bad("must be %s, not empty", what)
	case unprintable(text):
		it.bad("must be %s without control characters", what)
	default:
		return text
	}
	return ""
}

// unprintable tells whether s could garble the line of an error or of a log.
func unprintable(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// label reads a name of at most 63 letters, digits, dots, hyphens and underscores that starts with a letter or digit:
// it goes into logs, metrics and NSID.
func (it item) label(what string) string {
	text := it.str(what)
	if text != "" && !isLabel(text) {
		it.bad("must be %s of at most 63 letters, digits, dots, hyphens and underscores, not %q", what, text)
		return ""
	}
	return text
}

func isLabel(s string) bool {
	return len(s) <= 63 && alphanumeric(s[0]) && only(s, "-._")
}

// only tells whether s is made of ASCII letters, digits and the bytes of extra.
func only(s, extra string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && strings.IndexByte(extra, s[i]) < 0 {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// choice reads one of now. A word among later is part of the design, but its feature is not built.
func (it item) choice(preset string, now, later []string) string {
	what := "one of " + strings.Join(now, ", ")
	if len(now) == 1 {
		what = now[0]
	}
	text, ok := it.text(what)
	switch {
	case !ok:
	case slices.Contains(now, text):
		return text
	case slices.Contains(later, text):
		it.bad("%s is not supported yet: write %s", text, what)
	default:
		it.bad("must be %s, not %q", what, text)
	}
	return preset
}

func (it item) boolean(preset bool) bool {
	text, ok := it.text("true or false")
	switch {
	case !ok:
	case it.node.Tag != "!!bool":
		it.bad("must be true or false, not %q", text)
	default:
		return strings.EqualFold(text, "true")
	}
	return preset
}

// integer reads a decimal number from least to most.
func (it item) integer(preset, least, most int64) int64 {
	what := "a whole number from " + strconv.FormatInt(least, 10) + " to " + strconv.FormatInt(most, 10)
	text, ok := it.text(what)
	if !ok {
		return preset
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || it.node.Tag != "!!int" || n < least || n > most {
		it.bad("must be %s, not %q", what, text)
		return preset
	}
	return n
}

// number reads a decimal number from least to most, with a fraction or without.
func (it item) number(preset, least, most float64) float64 {
	what := "a number from " + strconv.FormatFloat(least, 'f', -1, 64) + " to " + strconv.FormatFloat(most, 'f', -1, 64)
	text, ok := it.text(what)
	if !ok {
		return preset
	}
	n, err := strconv.ParseFloat(text, 64)
	// The comparison is false for what is no number.
	if err != nil || it.node.Tag != "!!int" && it.node.Tag != "!!float" || !(least <= n && n <= most) {
		it.bad("must be %s, not %q", what, text)
		return preset
	}
	return n
}

// duration reads a duration from least to most.
func (it item) duration(preset, least, most time.Duration) time.Duration {
	what := "a duration from " + span(least) + " to " + span(most)
	text, ok := it.text(what)
	if !ok {
		return preset
	}
	d, err := time.ParseDuration(text)
	switch _, bare := strconv.Atoi(text); {
	case err != nil && bare == nil:
		it.bad("must be %s: %s has no unit, write %ss for seconds", what, text, text)
	case err != nil || d < least || d > most:
		it.bad("must be %s, not %q", what, text)
	default:
		return d
	}
	return preset
}

// seconds reads a duration of whole seconds.
func (it item) seconds(preset, least, most time.Duration) time.Duration {
	d := it.duration(preset, least, most)
	if d%time.Second != 0 {
		it.bad("must be whole seconds, not %s", span(d))
		return preset
	}
	return d
}

// span writes a duration as a person would: 1h, not 1h0m0s.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
