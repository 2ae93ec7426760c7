"""Personal data in chats: found over whole conversations, replaced in the original text."""
