"""The client as a local server that speaks the OpenAI API, with a page to chat on."""
