"""Reading a folder of configuration files into one configuration, with the place of everything.

YAML is read strictly: a name stands once, an alias is refused, and plain words are what they are in
YAML 1.2: `no` is a text and `1.10` is a number, for which a text in quotes is meant.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ostiary.cli.failure import Failure

SUFFIXES = (".yaml", ".yml", ".json")
#: Fields whose value is a secret, which is sent apart from the configuration.
SECRETS = ("auth_secret", "jwt_secret", "url", "value")
_LARGEST = 32 * 1024 * 1024
#: Of all files together: the server takes no larger body.
_LARGEST_FOLDER = 64 * 1024 * 1024
_LARGEST_SECRET = 64 * 1024
_DEEPEST = 40
#: Styles of scalars that are texts, whatever they look like.
_QUOTED = frozenset("'\"|>")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@dataclass(slots=True)
class Loaded:
    """One configuration, where each part of it stands, and the secrets that were found."""

    content: dict[str, object] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def named(self, place: str) -> str:
        """File and line of a place in the configuration, or of what is around it."""
        around = place
        while around and around not in self.places:
            around = around.rpartition(".")[0]
        where = self.places.get(around)
        what = place[len(around) :].lstrip(".") or around.rpartition(".")[2]
        if where is None:
            return place
        # An entry as a whole has a number and no name.
        return where if what.isdecimal() else f"{where}: {what}"


def load(folder: Path) -> Loaded:
    """Read every file of a folder and of those in it; raises Failure with file and line."""
    if not folder.is_dir():
        raise Failure(f"{folder} is not a folder.")
    loaded = Loaded()
    files = []
    for path in sorted(folder.rglob("*")):
        if _is_ignored(path, folder):
            continue
        if path.is_symlink():
            _check_link(path, folder)
        if path.suffix in SUFFIXES and path.is_file():
            files.append(path)
    if not files:
        raise Failure(f"{folder} holds no file that ends with {', '.join(SUFFIXES)}.")
    if sum(path.stat().st_size for path in files) > _LARGEST_FOLDER:
        raise Failure(f"The files of {folder} have more than {_LARGEST_FOLDER // 1024**2} MB.")
    for path in files:
        _FileReader(loaded, path, str(path.relative_to(folder))).read()
    _substitute(loaded, folder)
    return loaded


def _check_link(path: Path, folder: Path) -> None:
    """Refuse links to folders, which are not followed, and to what stands elsewhere."""
    name = path.relative_to(folder)
    if path.is_dir():
        raise Failure(f"{name} is a link to a folder: put the files here.")
    if path.suffix in SUFFIXES and not path.resolve().is_relative_to(folder.resolve()):
        raise Failure(f"{name} is a link that leads out of the folder: put the file here.")


def _is_ignored(path: Path, folder: Path) -> bool:
    """Hidden files, and the schema that lies beside an export."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return hidden or path.name.endswith(".schema.json")


class _FileReader:
    def __init__(self, loaded: Loaded, path: Path, name: str) -> None:
        self._loaded, self._path, self._name = loaded, path, name
        #: Nodes that were read: an alias is one of them again.
        self._seen: set[int] = set()

    def read(self) -> None:
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST + 1)
            if len(content) > _LARGEST:
                raise Failure(f"{self._name} is larger than {_LARGEST // 1024**2} MB.")
            nodes = list(yaml.compose_all(content.decode(), Loader=_LOADER))
        except OSError as error:
            raise Failure(f"{self._name} can't be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise Failure(f"{self._name} is not UTF-8.") from None
        except yaml.MarkedYAMLError as error:
            line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise Failure(f"{self._name}{line}: not valid YAML: {error.problem}") from None
        except yaml.YAMLError:
            raise Failure(f"{self._name}: not valid YAML.") from None
        except RecursionError:
            raise Failure(f"{self._name} is nested too deep.") from None
        for node in nodes:
            if node is not None:
                self._document(node)

    def _document(self, node: yaml.Node) -> None:
        if not isinstance(node, yaml.MappingNode):
            raise self._failure(node, "must be an object")
        content = self._loaded.content
        for name, value in self._pairs(node):
            if isinstance(value, yaml.SequenceNode):
                section = content.setdefault(name, [])
                if not isinstance(section, list):
                    raise self._failure(value, f"{name} is something else in another file")
                self._loaded.places.setdefault(name, self._place(value))
                for each in value.value:
                    section.append(self._value(each, f"{name}.{len(section)}", 1))
                continue
            before = self._loaded.places.get(name)
            found = self._value(value, name, 1)
            if name in content and content[name] != found:
                raise self._failure(value, f"{name} is another one than in {before}")
            content[name] = found

    def _value(self, node: yaml.Node, place: str, depth: int) -> object:
        if depth > _DEEPEST:
            raise self._failure(node, "is nested too deep")
        if id(node) in self._seen:
            raise self._failure(node, "is an alias: write it out")
        self._seen.add(id(node))
        self._loaded.places[place] = self._place(node)
        if isinstance(node, yaml.MappingNode):
            return {
                name: self._value(value, f"{place}.{name}", depth + 1)
                for name, value in self._pairs(node)
            }
        if isinstance(node, yaml.SequenceNode):
            return [
                self._value(each, f"{place}.{number}", depth + 1)
                for number, each in enumerate(node.value)
            ]
        return _scalar(node)

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
        seen: set[str] = set()
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise self._failure(name, "must be a name")
            if name.value in seen:
                raise self._failure(name, f"{name.value} stands here twice")
            seen.add(name.value)
            yield str(name.value), value

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"

    def _failure(self, node: yaml.Node, sentence: str) -> Failure:
        return Failure(f"{self._place(node)}: {sentence}")


def _scalar(node: yaml.Node) -> object:
    """A plain word by the core schema of YAML 1.2 (section 10.3.2); in quotes, it is a text."""
    text = str(node.value)
    if not isinstance(node, yaml.ScalarNode) or node.style in _QUOTED:
        return text
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return text.lower() == "true"
    if _INTEGER.fullmatch(text) and len(text) < 20:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _substitute(loaded: Loaded, folder: Path) -> None:
    """Put values for `{env: NAME}` where it stands, and secrets apart."""
    for name, section in loaded.content.items():
        if isinstance(section, list):
            for number, entry in enumerate(section):
                section[number] = _filled(loaded, folder, entry, f"{name}.{number}", (name,))


def _filled(
    loaded: Loaded, folder: Path, value: object, place: str, above: tuple[str, ...]
) -> object:
    if isinstance(value, dict):
        key = value.get("key")
        inside = (above[-1], str(key)) if isinstance(key, str) else above
        for name, each in value.items():
            where = f"{place}.{name}"
            if name in SECRETS and isinstance(each, dict):
                _take_secret(loaded, folder, each, where, ".".join((*inside[-2:], name)))
            elif name == "labels":
                # `env` is a label that many have.
                continue
            elif isinstance(each, list):
                parts = (name,)
                value[name] = [
                    _filled(loaded, folder, one, f"{where}.{number}", parts)
                    for number, one in enumerate(each)
                ]
            else:
                # The defaults of a client have its key.
                within = (name, inside[-1]) if name == "defaults" else inside
                value[name] = _filled(loaded, folder, each, where, within)
        if set(value) == {"env"} and isinstance(variable := value["env"], str):
            found = os.environ.get(variable)  # noqa: TID251 - which files name
            if found is None:
                raise Failure(f"{loaded.named(place)}: the variable {variable} is not set")
            return found
    return value


def _take_secret(
    loaded: Loaded, folder: Path, reference: dict[str, object], place: str, name: str
) -> None:
    """Find a secret. One that is not there is left out: the server says what that means."""
    variable, file = reference.get("env"), reference.get("file")
    if isinstance(variable, str):
        found = os.environ.get(variable)  # noqa: TID251 - which files name
    elif isinstance(file, str):
        found = _secret_file(folder / file, loaded.named(place))
    else:
        return
    if found is not None:
        loaded.secrets[name] = found


def _secret_file(path: Path, where: str) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_SECRET).decode().rstrip("\r\n")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise Failure(f"{where}: {path} is not a text") from None
    except OSError as error:
        raise Failure(f"{where}: {path} can't be read: {error.strerror}") from None
