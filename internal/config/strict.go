package config

import "reflect"

// Decode reads one YAML document strictly into v, a pointer to a struct whose
// fields have yaml tags: structs, slices, pointers, strings, ints, bools and
// encoding.TextUnmarshaler. check is called when v is filled as far as it could
// be, and returns what is wrong with it by Key (such as stages[0].name); each of
// its faults gets the place of that key, and is left out if the key's value could not
// be read. The error is of type Faults and holds all of them.
func Decode(b []byte, v any, check func() Faults) error {
	d := decoder{where: map[string]position{}}
	d.document(b, reflect.ValueOf(v).Elem())
	if len(d.faults) > 0 && !d.usable {
		return d.faults.sorted()
	}
	faults := d.faults
	for _, f := range check() {
		if d.failed(f.Key) {
			continue // said already: its value could not be read
		}
		if p := d.nearest(f.Key); p.line > 0 {
			f.Line, f.Column = p.line, p.column
		}
		faults = append(faults, f)
	}
	if len(faults) > 0 {
		return faults.sorted()
	}
	return nil
}
