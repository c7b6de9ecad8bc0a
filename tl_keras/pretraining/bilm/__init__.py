"""Making a biLM: two language models over words, one in each direction, whose inner states are ELMo vectors."""
