// Package folder makes a model of a folder as Hugging Face has them: config.json,
// safetensors, a tokenizer. The model looks like the GGUF file that a converter
// writes (llama.cpp's convert_hf_to_gguf.py gives the same names, shapes and
// bytes), so that nobody above knows the difference: a folder and its converted
// file even have the same model id.
//
// Start with [Open]; shard/weights.OpenMade opens what it returns, and [Write]
// writes it as a file. A family of models is a row of the table in family.go.
//
// Nothing is converted when a folder is opened. Matrices that a GGUF file has as
// they are lie in the mapped files; the others (rows in another order, experts in
// one tensor, other types) are made when their rows are read.
package folder
